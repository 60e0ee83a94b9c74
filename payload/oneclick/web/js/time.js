/** Waiting with an end. */

/** So long an answer or a dialog waits for what is being saved. */
const SAVED_WITHIN_MS = 1500;

/** Return what `promise` gives, undefined when it takes longer than `milliseconds`. */
export function within(milliseconds, promise) {
  let timer = 0;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Wait for something to be saved, but never so long that the chat would stand still; the saving goes on. */
export function briefly(saving) {
  return within(SAVED_WITHIN_MS, saving);
}
