// The whole page: the sessions, and the one that is looked at.

import { useEffect, useMemo, useState } from "preact/hooks";
import { takeToken, usePlace } from "./address";
import { LogContext } from "./asking";
import type { Log, Refused } from "./log";
import { Session } from "./Session";
import { Sessions } from "./Sessions";

export function App({ log }: { log: Log }) {
  const place = usePlace();
  const [problem, setProblem] = useState<Refused | null>(null);
  const [attempt, setAttempt] = useState(0);
  const asking = useMemo(() => ({ log, refused: setProblem }), [log]);
  const again = (token?: string) => {
    if (token) log.authenticate(token);
    setProblem(null);
    setAttempt(attempt + 1);
  };
  useEffect(() => {
    const changed = () => { const token = takeToken(); if (token) again(token); };
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  });

  if (problem?.status === 401) return <Login enter={again} />;
  return (
    <LogContext.Provider value={asking} key={attempt}>
      <div class="page" data-shows={place.session ? "session" : "sessions"}>
        <header>
          <a class="home" href="#/">turnlog</a>
          <span class="mode">read-only</span>
          <a href="docs">HTTP</a>
        </header>
        {problem && (
          <div class="problem" role="alert">
            <bdi>{problem.message}</bdi> <button type="button" onClick={() => again()}>Try again</button>
          </div>
        )}
        <Sessions current={place.session} />
        <main>
          {place.session
            ? <Session key={place.session} id={place.session} position={place.position} />
            : <p class="empty">Choose a session.</p>}
        </main>
      </div>
    </LogContext.Provider>
  );
}

function Login({ enter }: { enter(token: string): void }) {
  const [token, setToken] = useState("");
  return (
    <main class="login">
      <h1>turnlog</h1>
      <p>The log wants to know who asks. A token is printed when the server starts.</p>
      <form onSubmit={(event) => { event.preventDefault(); enter(token.trim()); }}>
        <label>
          Token <input type="password" autocomplete="off" required value={token} onInput={(event) => setToken(event.currentTarget.value)} />
        </label>
        <button type="submit">Go on</button>
      </form>
    </main>
  );
}
