//! A keyring without public-key cryptography: each node's secret follows from its certificate. It refuses what the node did not
//! sign, as the real one does, at a hundredth of the cost.

use nearmesh_common::{
    NodeId, UnixMillis, UserName,
    codec::{decode, encode},
    signed::{Keyring, Signer, VerifyError},
};

/// Signs as one node of the simulated net.
#[derive(Debug)]
pub struct ToyKeyring {
    node: NodeId,
    user: UserName,
    certificate: Box<[u8]>,
    secret: [u8; 32],
}

impl ToyKeyring {
    /// The keyring of `user`'s `node`.
    pub fn new(node: NodeId, user: UserName) -> Self {
        let certificate = encode(&(node, &user)).into_boxed_slice();
        let secret = secret_of(&certificate);
        Self { node, user, certificate, secret }
    }
}

impl Keyring for ToyKeyring {
    fn node(&self) -> NodeId {
        self.node
    }

    fn user(&self) -> &UserName {
        &self.user
    }

    fn sign(&self, message: &[u8]) -> (Box<[u8]>, Box<[u8]>) {
        (self.certificate.clone(), Box::from(*blake3::keyed_hash(&self.secret, message).as_bytes()))
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
        if blake3::keyed_hash(&secret_of(certificate), message).as_bytes() != signature {
            return Err(VerifyError::Signature);
        }
        Ok(Signer { node, user })
    }
}

fn secret_of(certificate: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new_derive_key("nearmesh simulated keyring").update(certificate).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use nearmesh_common::{presence::Presence, signed::Signed};

    use super::*;

    #[test]
    fn what_a_node_did_not_sign_is_refused() {
        let alice: &dyn Keyring = &ToyKeyring::new(NodeId([1; 32]), "alice".parse().unwrap());
        let bob: &dyn Keyring = &ToyKeyring::new(NodeId([2; 32]), "bob".parse().unwrap());
        let wall = UnixMillis(1);
        let mut signed: Signed<Presence> = alice.seal(&Presence {
            node: alice.node(),
            sequence: wall,
            since: wall,
            expires: wall,
            addresses: Vec::new(),
            home: bob.node(),
            reach: nearmesh_common::nat::Reach::default(),
            relays: false,
            online: true,
        });
        assert_eq!(bob.verify(signed.clone(), wall).unwrap().signer.node, alice.node());
        let true_payload = signed.payload.clone();
        let mut forged = true_payload.to_vec();
        forged[3] ^= 1;
        signed.payload = forged.into();
        assert_eq!(bob.verify(signed.clone(), wall).unwrap_err(), VerifyError::Signature);
        signed.payload = true_payload;
        signed.certificate = bob.sign(b"").0;
        assert_eq!(bob.verify(signed, wall).unwrap_err(), VerifyError::Signature);
    }
}
