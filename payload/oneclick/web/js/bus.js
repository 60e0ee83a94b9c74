/** Events inside the page: modules tell what happened without knowing who listens. */

const target = new EventTarget();

/** Call `listener(detail)` whenever `name` is emitted; `options` as in addEventListener (once, signal). */
export function on(name, listener, options) {
  target.addEventListener(name, (event) => listener(event.detail), options);
}

export function emit(name, detail) {
  target.dispatchEvent(new CustomEvent(name, { detail }));
}
