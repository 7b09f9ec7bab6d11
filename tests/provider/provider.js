// An OpenID provider for tests: the certified `oidc-provider`, with people and keys that the test chooses.
import { Provider } from "oidc-provider";

const { issuer, port, clients, people, jwks } = JSON.parse(process.env.PROVIDER);

const provider = new Provider(issuer, {
  clients,
  jwks,
  // Its own pages to log in: any password will do.
  features: { devInteractions: { enabled: true } },
  claims: { openid: ["sub"], profile: ["preferred_username", "email", "groups"] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  cookies: { keys: ["tests"] },
  findAccount: (_context, sub) => ({
    accountId: sub,
    claims: () => ({ sub, ...people[sub] }),
  }),
});

let keysAsked = 0;
provider.use(async (context, next) => {
  if (context.path === "/jwks") keysAsked += 1;
  if (context.path === "/keys-asked") context.body = String(keysAsked);
  else await next();
});

provider.listen(port, "127.0.0.1");
