// Verifies the token on standard input with jose, as an API in Node would; prints its header and claims.
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { JWKS, ISSUER, AUDIENCE } = process.env;
let token = '';
for await (const chunk of process.stdin) token += chunk;
const { payload, protectedHeader } = await jwtVerify(token, createRemoteJWKSet(new URL(JWKS)), { issuer: ISSUER, audience: AUDIENCE, typ: 'at+jwt', algorithms: ['ES256'] });
process.stdout.write(JSON.stringify({ payload, protectedHeader }));
