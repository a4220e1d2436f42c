/** A request that Cloakroom or a service behind it did not fulfil. */
export declare class ProblemError extends Error {
  readonly status: number;
  /** "urn:cloakroom:problem:…", or "about:blank" where the answer was no problem document. */
  readonly type: string;
  /** What to tell support. */
  readonly correlationId?: string;
}

export interface Session {
  /** Names the session; it is not the cookie's secret. */
  id: string;
  provider: string;
  /** RFC 3339, as are the other times. */
  created_at: string;
  expires_at: string;
  idle_expires_at: string;
  /** Seconds from now, for clocks that are off. */
  expires_in: number;
  idle_expires_in: number;
  auth_time?: string | number;
}

export interface User {
  sub: string;
  name?: string;
  given_name?: string;
  family_name?: string;
  email?: string;
  email_verified?: boolean;
  picture?: string;
  preferred_username?: string;
  session: Session;
  /** Whatever else session.user_claims lets through. */
  [claim: string]: unknown;
}

export interface LoginParams {
  /** A path of this origin; where the person is now by default. */
  returnTo?: string;
  provider?: string;
  prompt?: string;
  login_hint?: string;
  acr_values?: string;
  max_age?: number;
  ui_locales?: string;
}

/** A 401 in the form of RFC 9457. */
export interface Problem {
  type: string;
  title?: string;
  status?: number;
  detail?: string;
  login_url?: string;
  correlation_id?: string;
}

export interface FetchInit extends RequestInit {
  /** Called on a 401 that a (new or stronger) sign-in would mend. signIn leaves the page; call it at once, or when the person agrees. */
  onLogin?: (signIn: (returnTo?: string) => void, problem: Problem) => void;
}

/** Who is signed in, or null. Rejects when that cannot be told just now, which does not mean "signed out". */
export declare function user(options?: { slide?: boolean; signal?: AbortSignal }): Promise<User | null>;

/** Leaves the page to sign in. */
export declare function login(params?: LoginParams): void;

/**
 * Ends the session here and at the provider, and leaves the page. Rejects, and stays, when it could not be ended. Amazon Cognito does not
 * tell where the browser was to come back to: from there it comes to `/`, and not to returnTo.
 */
export declare function logout(options?: { returnTo?: string }): Promise<void>;

/** The browser's fetch, with the header that Cloakroom asks of this app's requests. */
export declare function fetch(input: RequestInfo | URL, init?: FetchInit): Promise<Response>;

/** One of a person's sessions. */
export interface SessionInfo {
  id: string;
  /** This browser's. */
  current: boolean;
  provider: string;
  /** RFC 3339, as are the other times. */
  created_at: string;
  last_seen_at: string;
  expires_at: string;
  user_agent: string;
  address: string;
}

/** The person's sessions, the last used first. */
export declare function sessions(): Promise<SessionInfo[]>;
export declare namespace sessions {
  /** Ends one of them. */
  function end(id: string): Promise<void>;
  /** Ends all but this browser's. */
  function endOthers(): Promise<void>;
}

/** What became of the session. */
export type SessionNews =
  /** It ends by itself in so many seconds, unless it is used. */
  | { type: "ending"; seconds: number }
  /** Its tokens were renewed: what user() tells may have changed. */
  | { type: "refreshed" }
  | { type: "ended"; reason: "logout" | "revoked" | "expired" | "backchannel" | "refused" };

/**
 * Calls back with what becomes of the session, in whichever tab or on whichever device it happens; returns a function that
 * stops it. After "ended" nothing more comes, until onSession is called after another sign-in.
 */
export declare function onSession(callback: (news: SessionNews) => void): () => void;
