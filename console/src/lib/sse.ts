// Server-sent events (html.spec.whatwg.org, section 9.2), taken apart as their bytes come in.

export interface Frame {
  event: string;
  id: string;
  data: string;
}

export class Frames {
  #rest = '';
  #frame: Frame = { event: '', id: '', data: '' };

  /** The frames that this piece of text completes. */
  take(text: string): Frame[] {
    const found: Frame[] = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (this.#frame.data !== '' || this.#frame.event !== '') found.push({ ...this.#frame, data: this.#frame.data.replace(/\n$/, '') });
        this.#frame = { event: '', id: this.#frame.id, data: '' };
      } else {
        this.#line(line);
      }
    }
    return found;
  }

  #line(line: string): void {
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') this.#frame.data += `${value}\n`;
    else if (name === 'event') this.#frame.event = value;
    else if (name === 'id') this.#frame.id = value;
  }
}
