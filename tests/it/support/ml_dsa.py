"""ML-DSA as another implementation sees it: verifies a chain, leaf first and the root last, and reads key
files. Prints the kind of every key, or fails."""

import sys

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization


def kind(key):
    return type(key).__name__.removesuffix("PublicKey")


chain_file, root_file, key_file = sys.argv[1:]
with open(chain_file, "rb") as file:
    chain = x509.load_pem_x509_certificates(file.read())
with open(root_file, "rb") as file:
    chain += x509.load_pem_x509_certificates(file.read())

for child, parent in zip(chain, chain[1:] + chain[-1:]):
    key = parent.public_key()
    assert child.issuer == parent.subject
    key.verify(child.signature, child.tbs_certificate_bytes)
    damaged = bytes([child.signature[0] ^ 1]) + child.signature[1:]
    try:
        key.verify(damaged, child.tbs_certificate_bytes)
    except InvalidSignature:
        pass
    else:
        sys.exit("a damaged signature verified")
    assert child.signature_algorithm_oid == parent.public_key_algorithm_oid
    print(kind(child.public_key()))

# The issuer's private key, as `mayfly init` wrote it.
with open(key_file, "rb") as file:
    private = serialization.load_pem_private_key(file.read(), None)
assert private.public_key() == chain[1].public_key()
usage = chain[0].extensions.get_extension_for_class(x509.KeyUsage).value
assert usage.digital_signature and not usage.key_encipherment and not usage.key_cert_sign
