//! Where private keys live, behind [`crate::authority::signer::Signer`].
