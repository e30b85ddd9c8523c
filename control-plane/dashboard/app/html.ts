/** Templates. Text that is put in is always text: nothing a span says can become markup. */
export { html } from 'htm/preact';
