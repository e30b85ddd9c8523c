/** What a starting process still waits for, by name. */
export class Readiness {
  readonly #missing = new Set<string>();

  /** `what`: as a person reads it after "waiting for". Returns the function that says it is there. */
  need(what: string): () => void {
    this.#missing.add(what);
    return () => this.#missing.delete(what);
  }

  missing(): readonly string[] {
    return [...this.#missing];
  }
}
