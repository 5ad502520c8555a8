//! A keyring without public-key cryptography: each node's secret follows from its id. It refuses what the node did
//! not sign as the real one does.

use nearmesh_common::{
    NodeId, UnixMillis, UserName,
    codec::{decode, encode},
    signed::{Keyring, Signer, VerifyError},
};

pub(super) struct FakeKeyring {
    node: NodeId,
    user: UserName,
}

impl FakeKeyring {
    pub(super) fn new(node: NodeId, user: &str) -> Self {
        Self { node, user: user.parse().unwrap() }
    }
}

fn mac(certificate: &[u8], message: &[u8]) -> Box<[u8]> {
    let key = blake3::derive_key("nearmesh test keyring", certificate);
    Box::from(*blake3::keyed_hash(&key, message).as_bytes())
}

impl Keyring for FakeKeyring {
    fn node(&self) -> NodeId {
        self.node
    }

    fn user(&self) -> &UserName {
        &self.user
    }

    fn sign(&self, message: &[u8]) -> (Box<[u8]>, Box<[u8]>) {
        let certificate = encode(&(self.node, &self.user)).into_boxed_slice();
        let signature = mac(&certificate, message);
        (certificate, signature)
    }

    fn check(
        &self,
        message: &[u8],
        certificate: &[u8],
        signature: &[u8],
        _wall: UnixMillis,
    ) -> Result<Signer, VerifyError> {
        let (node, user) =
            decode(certificate).map_err(|error| VerifyError::Certificate(error.to_string()))?;
        if *mac(certificate, message) != *signature {
            return Err(VerifyError::Signature);
        }
        Ok(Signer { node, user })
    }
}
