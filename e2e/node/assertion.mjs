// A service in Node that authenticates by private_key_jwt, by the two libraries it would use: it discovers the exchange,
// gets a token for itself, has it introspected and revoked, and tries an assertion a second time. Prints what it saw as
// JSON; it judges nothing.
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { importPKCS8 } from 'jose';

const { ISSUER, CLIENT_ID, KEY, KID, AUDIENCE } = process.env;
const key = { key: await importPKCS8(KEY, 'ES256'), kid: KID };

// What a call came to: its result, or the error as the library understands it.
const outcome = (call) => call.then((result) => ({ result }), (error) => ({ error: { code: error.code, error: error.error, status: error.status } }));

const config = await openid.discovery(new URL(ISSUER), CLIENT_ID, undefined, openid.PrivateKeyJwt(key), { algorithm: 'oauth2' });
let sent;
config[openid.customFetch] = (url, options) => {
  sent = { url, options };
  return fetch(url, options);
};
const granted = await outcome(openid.clientCredentialsGrant(config, { audience: AUDIENCE }));
const again = await fetch(sent.url, sent.options);
const replayed = { status: again.status, body: await again.json() };
const token = granted.result?.access_token;
const before = await outcome(openid.tokenIntrospection(config, token));
const revoked = await outcome(openid.tokenRevocation(config, token).then(() => 'revoked'));
const after = await outcome(openid.tokenIntrospection(config, token));

const issuer = new URL(ISSUER);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }));
const client = { client_id: CLIENT_ID };
const viaOAuth = await outcome(oauth.clientCredentialsGrantRequest(as, client, oauth.PrivateKeyJwt(key), new URLSearchParams({ audience: AUDIENCE }))
  .then((response) => oauth.processClientCredentialsResponse(as, client, response)));

console.log(JSON.stringify({ granted, replayed, before, revoked, after, viaOAuth, methods: as.token_endpoint_auth_methods_supported }));
