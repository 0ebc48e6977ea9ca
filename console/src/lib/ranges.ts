/** How far back charts look, and in which steps. */
export interface Range {
  name: string;
  label: string;
  seconds: number;
  step: number;
}
