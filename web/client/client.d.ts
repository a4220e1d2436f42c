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

/** Ends the session here and at the provider, and leaves the page. Rejects, and stays, when it could not be ended. */
export declare function logout(options?: { returnTo?: string }): Promise<void>;

/** The browser's fetch, with the header that Cloakroom asks of this app's requests. */
export declare function fetch(input: RequestInfo | URL, init?: FetchInit): Promise<Response>;
