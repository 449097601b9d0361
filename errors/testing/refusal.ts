/** For tests: what an action was refused with. */
import { SiltError, type ErrorCode, type ErrorDetails } from '..';

export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

function describe(error: unknown): Refusal {
  if (!(error instanceof SiltError)) throw error;
  return { code: error.code, message: error.message, details: error.details };
}

/** Throws when the action succeeds, or fails with anything but a SiltError. */
export function refusal(action: () => unknown): Refusal {
  try {
    action();
  } catch (error) {
    return describe(error);
  }
  throw new Error('nothing was refused');
}

/** The same for a promise. */
export async function refusalOf(outcome: Promise<unknown>): Promise<Refusal> {
  try {
    await outcome;
  } catch (error) {
    return describe(error);
  }
  throw new Error('nothing was refused');
}
