// Services in Node at the exchange, by the two libraries they would use: they discover it, exchange, verify what they got
// as the receiving API would, and read its refusals. Prints what they saw as JSON; it judges nothing.
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { ISSUER, CLIENT_ID, CLIENT_SECRET, SUBJECT, ID_TOKEN, SESSION } = process.env;
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const type = (name) => `urn:ietf:params:oauth:token-type:${name}`;
const ask = (more) => ({ subject_token: SUBJECT, subject_token_type: type('access_token'), audience: 'orders', ...more });

// What a call came to: its result, or the error as the library understands it.
const outcome = (call) => call.then((result) => ({ result }), (error) => ({
  error: { name: error.name, code: error.code, error: error.error, description: error.error_description, status: error.status, challenges: Array.isArray(error.cause) ? error.cause : undefined },
}));

const refusals = {
  'a bad subject token': ask({ subject_token: SUBJECT.slice(0, -6) + 'AAAAAA' }),
  'an unknown audience': ask({ audience: 'nowhere' }),
  'too much scope': ask({ scope: 'orders:read orders:write' }),
  'no subject token': ask({ subject_token: '' }),
  'a type that is not issued': ask({ requested_token_type: type('refresh_token') }),
};

// openid-client, by both kinds of metadata and both ways to send a secret.
const viaOpenid = {};
const ways = { 'oidc post': ['oidc', openid.ClientSecretPost], 'oidc basic': ['oidc', openid.ClientSecretBasic], 'oauth2 basic': ['oauth2', openid.ClientSecretBasic] };
let config;
for (const [name, [algorithm, authentication]] of Object.entries(ways)) {
  config = await openid.discovery(new URL(ISSUER), CLIENT_ID, undefined, authentication(CLIENT_SECRET), { algorithm });
  viaOpenid[name] = await outcome(openid.genericGrantRequest(config, exchange, ask({ subject_id_token: ID_TOKEN })));
}
viaOpenid.session = await outcome(openid.genericGrantRequest(config, exchange, ask({ subject_token: SESSION, subject_token_type: 'urn:cloakroom:token-type:session' })));
const openidRefused = {};
for (const [name, parameters] of Object.entries(refusals)) {
  openidRefused[name] = await outcome(openid.genericGrantRequest(config, exchange, parameters));
}
const stranger = await openid.discovery(new URL(ISSUER), CLIENT_ID, undefined, openid.ClientSecretBasic('wrong'));
openidRefused['a wrong secret'] = await outcome(openid.genericGrantRequest(stranger, exchange, ask()));

// oauth4webapi, also as the API that receives the token.
const issuer = new URL(ISSUER);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }));
const client = { client_id: CLIENT_ID };
const request = async (parameters, secret = CLIENT_SECRET) => oauth.processGenericTokenEndpointResponse(as, client,
  await oauth.genericTokenEndpointRequest(as, client, oauth.ClientSecretBasic(secret), exchange, new URLSearchParams(parameters)));
const receive = (token, audience) => oauth.validateJwtAccessToken(as, new Request('https://api.example.com/', { headers: { authorization: `Bearer ${token}` } }), audience);
const granted = {};
const verified = {};
const keys = createRemoteJWKSet(new URL(as.jwks_uri));
for (const audience of ['orders', 'ledger', 'archive']) {
  granted[audience] = await request(ask({ audience, subject_id_token: ID_TOKEN }));
  const token = granted[audience].access_token;
  const { payload, protectedHeader } = await jwtVerify(token, keys, { issuer: ISSUER, audience, typ: 'at+jwt' });
  verified[audience] = { oauth4webapi: await receive(token, audience), jose: payload, algorithm: protectedHeader.alg };
}
const elsewhere = await outcome(receive(granted.orders.access_token, 'ledger'));
const notMinted = await outcome(receive(SUBJECT, 'orders'));
const oauthRefused = {};
for (const [name, parameters] of Object.entries(refusals)) oauthRefused[name] = await outcome(request(parameters));
oauthRefused['a wrong secret'] = await outcome(request(ask(), 'wrong'));

process.stdout.write(JSON.stringify({ viaOpenid, openidRefused, granted, verified, elsewhere, notMinted, oauthRefused }));
