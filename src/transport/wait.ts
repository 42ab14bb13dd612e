/** Longest delay that `setTimeout` takes, in milliseconds; beyond it fires at once. */
export const MAX_TIMER_MS = 0x7fffffff;

/** What a call that waits takes. */
export interface WaitOptions {
  /** Ends the wait: the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Waits for `promise` or for `signal`, whichever comes first. The promise itself goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) {
    promise.catch(ignore);
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Takes an error that is reported elsewhere. */
export function ignore(): void {}
