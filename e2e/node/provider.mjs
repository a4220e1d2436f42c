// oidc-provider as it comes: its own sign-in and consent pages, opaque access tokens, e-mail only in userinfo. With
// ACCESS_TOKENS=jwt its access tokens are JWTs for the resource below; with ACCESS_TOKENS=introspected they are opaque, and
// it says of each what it is, and takes it back. Prints one JSON object a line: {"ready"} when it answers, {"issued"} for every token it hands
// out, so that a test knows what must never turn up elsewhere.
import { Provider } from 'oidc-provider';

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const { ISSUER, PORT, REDIRECT_URI, POST_LOGOUT_URI, CLIENT_ID, CLIENT_SECRET, ACCESS_TOKENS } = process.env;
const resource = 'https://api.example.test';

const provider = new Provider(ISSUER, {
  clients: [{
    client_id: CLIENT_ID,
    client_secret: CLIENT_SECRET,
    redirect_uris: [REDIRECT_URI],
    post_logout_redirect_uris: [POST_LOGOUT_URI],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    scope: 'openid email profile offline_access orders:read orders:write',
  }],
  scopes: ['openid', 'offline_access', 'orders:read', 'orders:write'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'given_name', 'family_name'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: 'Alice Example', given_name: 'Alice', family_name: 'Example' }),
  }),
  cookies: { keys: ['only for this test'] },
  features: {
    introspection: { enabled: ACCESS_TOKENS === 'introspected' },
    revocation: { enabled: ACCESS_TOKENS === 'introspected' },
    ...(ACCESS_TOKENS === 'jwt' && {
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: 'orders:read orders:write', audience: CLIENT_ID, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
      },
    }),
  },
});

provider.on('grant.success', (ctx) => say({ issued: ['access_token', 'refresh_token', 'id_token'].map((name) => ctx.body[name]).filter(Boolean) }));
provider.on('server_error', (_, error) => say({ error: String(error.stack) }));
for (const event of ['authorization.error', 'grant.error', 'end_session.error', 'userinfo.error']) {
  provider.on(event, (_, error) => say({ error: `${event}: ${error.message} ${error.error_description ?? ''}` }));
}
provider.listen(Number(PORT), '127.0.0.1', () => say({ ready: ISSUER }));
