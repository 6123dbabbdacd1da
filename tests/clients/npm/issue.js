// Gets one certificate by npm's acme-client, in its `auto` mode, and revokes it when asked.
//
//     node issue.js DIRECTORY http-01|dns-01 OUT revoke|keep NAME...
//
// OUT gets chain.pem and key.pem. http-01 answers are files in WEBROOT, dns-01 records files in
// TXT_DIR, where the tests' servers look. The CA's root: NODE_EXTRA_CA_CERTS, as for any Node program.
'use strict';

const fs = require('fs');
const path = require('path');
const acme = require('acme-client');

async function main([directoryUrl, kind, out, revoke, ...names]) {
    const client = new acme.Client({
        directoryUrl,
        accountKey: await acme.crypto.createPrivateEcdsaKey(),
        // Its first look at a challenge comes five seconds after the first by default.
        backoffMin: 100,
    });
    const [key, csr] = await acme.crypto.createCsr({ altNames: names }, await acme.crypto.createPrivateEcdsaKey());

    const file = (authz, challenge, answer) => {
        if (challenge.type !== kind) throw new Error(`${kind} is not offered`);
        if (kind === 'http-01') return path.join(process.env.WEBROOT, challenge.token);
        // acme-client hands over the digest, ready for the record.
        return path.join(process.env.TXT_DIR, `_acme-challenge.${authz.identifier.value}`, answer);
    };
    const chain = await client.auto({
        csr,
        email: 'test@example.test',
        termsOfServiceAgreed: true,
        challengePriority: [kind],
        // Its own check would ask the system's resolver, which does not know `.test`.
        skipChallengeVerification: true,
        challengeCreateFn: async (authz, challenge, answer) => {
            const answered = file(authz, challenge, answer);
            fs.mkdirSync(path.dirname(answered), { recursive: true });
            fs.writeFileSync(answered, kind === 'http-01' ? answer : '');
        },
        challengeRemoveFn: async (authz, challenge, answer) => fs.rmSync(file(authz, challenge, answer)),
    });
    fs.writeFileSync(path.join(out, 'chain.pem'), chain);
    fs.writeFileSync(path.join(out, 'key.pem'), key, { mode: 0o600 });
    if (revoke === 'revoke') await client.revokeCertificate(chain);
}

main(process.argv.slice(2)).catch((error) => {
    console.error(error);
    process.exit(1);
});
