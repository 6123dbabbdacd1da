"""moto's server, with the one part of KMS that we use and moto lacks: MessageType=DIGEST of Sign, which
moto takes for RAW and hashes again."""

import sys
import threading

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms import responses, utils
from moto.server import main

asked = threading.local()
plain = responses.KmsResponse.sign


def sign(self):
    asked.digest = self._get_param("MessageType") == "DIGEST"
    return plain(self)


def over(message, algorithm):
    kind = {"SHA_256": hashes.SHA256, "SHA_384": hashes.SHA384}[algorithm[-7:]]()
    if not asked.digest:
        return kind
    # As AWS does: a digest of another length than the algorithm's is no digest.
    assert len(message) == kind.digest_size, len(message)
    return Prehashed(kind)


def ecdsa(self, message, signing_algorithm):
    return self.private_key.sign(message, ec.ECDSA(over(message, signing_algorithm)))


def rsa(self, message, signing_algorithm):
    assert signing_algorithm.startswith("RSASSA_PKCS1_V1_5"), signing_algorithm
    return self.private_key.sign(message, padding.PKCS1v15(), over(message, signing_algorithm))


responses.KmsResponse.sign = sign
utils.ECDSAPrivateKey.sign = ecdsa
utils.RSAPrivateKey.sign = rsa
main(sys.argv[1:])
