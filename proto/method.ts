import type * as generated from '../build/proto/contracts';
import { codec, type Draft } from './codec';

/** A codec that takes and gives the same type. */
export interface SymmetricCodec<T> {
  readonly typeName: string;
  encode(message: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

/** A method's messages as its server sees them: requests have all fields, answers may leave some out. */
export interface ServerMethod<Request, Answer> {
  readonly request: SymmetricCodec<Request>;
  readonly response: SymmetricCodec<Draft<Answer>>;
}

/** A method of a service by its messages. */
export function method<Request extends object, Answer extends object>(
  request: generated.Contract<Request>,
  response: generated.Contract<Answer>,
): ServerMethod<Request, Answer> {
  // Every T is a Draft<T>; the compiler cannot see that for a T it does not know.
  return {
    request: codec(request) as unknown as SymmetricCodec<Request>,
    response: codec(response) as unknown as SymmetricCodec<Draft<Answer>>,
  };
}
