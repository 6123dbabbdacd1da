//! Just enough DER to change a certificate in one place.

use crate::x509::der::tlv;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) tag: u8,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Leaf(Vec<u8>),
    Parts(Vec<Node>),
}

impl Node {
    pub(super) fn leaf(tag: u8, bytes: &[u8]) -> Self {
        Self { tag, body: Body::Leaf(bytes.to_vec()) }
    }

    pub(super) fn parts(tag: u8, parts: Vec<Node>) -> Self {
        Self { tag, body: Body::Parts(parts) }
    }

    /// One value; panics on anything but DER.
    pub(super) fn parse(der: &[u8]) -> Self {
        let (node, rest) = Self::read(der);
        assert!(rest.is_empty());
        node
    }

    fn read(der: &[u8]) -> (Self, &[u8]) {
        let (length, start) = match der[1] {
            short @ 0..0x80 => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                let number = der[2..2 + count].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (number, 2 + count)
            }
        };
        let (mut content, rest) = der[start..].split_at(length);
        if der[0] & 0x20 == 0 {
            return (Self::leaf(der[0], content), rest);
        }
        let mut parts = Vec::new();
        while !content.is_empty() {
            let (part, left) = Self::read(content);
            parts.push(part);
            content = left;
        }
        (Self::parts(der[0], parts), rest)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        match &self.body {
            Body::Leaf(bytes) => tlv(self.tag, &[bytes]),
            Body::Parts(parts) => {
                let parts: Vec<Vec<u8>> = parts.iter().map(Node::encode).collect();
                tlv(self.tag, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
            }
        }
    }

    pub(super) fn children(&mut self) -> &mut Vec<Node> {
        match &mut self.body {
            Body::Parts(parts) => parts,
            Body::Leaf(_) => panic!("a leaf has no parts"),
        }
    }

    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        match &mut self.body {
            Body::Leaf(bytes) => bytes,
            Body::Parts(_) => panic!("parts are no bytes"),
        }
    }

    /// The node at that path.
    pub(super) fn at(&mut self, path: &[usize]) -> &mut Node {
        path.iter().fold(self, |node, index| &mut node.children()[*index])
    }

    pub(super) fn at_ref(&self, index: usize) -> &Node {
        match &self.body {
            Body::Parts(parts) => &parts[index],
            Body::Leaf(_) => panic!("a leaf has no parts"),
        }
    }
}
