export { type Refusal, refusal, refusalOf } from '../../errors/testing/refusal';
