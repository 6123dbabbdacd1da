//! Where private keys live, behind [`crate::authority::signer::Signer`].

pub mod file;
pub mod password;
mod pbes2;
