// The token: handed over in the fragment by `hob open`, kept by the browser, sent with every call.

const KEY = 'hob.token';

function stored(): string {
  try {
    return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

function store(token: string): void {
  for (const place of ['sessionStorage', 'localStorage'] as const) {
    try {
      if (token) window[place].setItem(KEY, token);
      else window[place].removeItem(KEY);
    } catch {
      // A browser that keeps nothing asks again after a reload.
    }
  }
}

/** Takes the token out of the address, so that it stays out of the history and of copied links. */
function fromFragment(): string {
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? '';
  if (token) {
    history.replaceState(history.state, '', location.pathname + location.search);
    store(token);
  }
  return token;
}

class Session {
  token = $state(fromFragment() || stored());
  /** The server refused the token that was there. */
  refused = $state(false);

  /** Forgets a token that the server refused. */
  refuse(token: string): void {
    if (token !== this.token) return;
    this.refused = true;
    this.token = '';
    store('');
  }

  signIn(token: string): void {
    store(token);
    this.refused = false;
    this.token = token;
  }
}

export const session = new Session();

window.addEventListener('hashchange', () => {
  const token = fromFragment();
  if (token) session.signIn(token);
});
