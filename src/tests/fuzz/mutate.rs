//! Changes to inputs: what a slip, a liar, or a broken disk would make of them.

/// Makes inputs; the same ones for the same seed and corpus.
pub(super) struct Mutator {
    state: u64,
    words: &'static [&'static str],
}

/// No input is longer.
const LONGEST: usize = 1 << 16;

/// Bytes that lengths and tags are made of.
const ODD: [u8; 12] = [0, 1, 0x20, 0x30, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xc0, 0xfe, 0xff];

impl Mutator {
    pub(super) fn new(seed: u64, words: &'static [&'static str]) -> Self {
        Self { state: seed, words }
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which may be zero.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    /// A piece of the input: where it begins and ends.
    fn piece(&mut self, length: usize, most: usize) -> (usize, usize) {
        let from = self.below(length);
        let to = (from + 1 + self.below(most)).min(length);
        (from.min(to), to)
    }

    /// The next input.
    pub(super) fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, corpus);
            input.truncate(LONGEST);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len());
        match self.below(12) {
            0 | 1 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            2 if !input.is_empty() => input[at] = ODD[self.below(ODD.len())],
            3 => {
                let byte = self.next() as u8;
                input.insert(at, byte);
            }
            4 => {
                let (from, to) = self.piece(input.len(), 16);
                input.drain(from..to);
            }
            5 => input.truncate(at),
            // A piece once more, at its own place or another.
            6 => {
                let (from, to) = self.piece(input.len(), 64);
                let piece = input[from..to].to_vec();
                input.splice(at..at, piece);
            }
            // The head of one, the tail of another.
            7 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len());
                input.truncate(at);
                input.extend(&other[from.min(other.len())..]);
            }
            8 | 9 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())];
                let over = self.below(2) * word.len();
                let end = (at + over).min(input.len());
                input.splice(at..end, word.bytes());
            }
            // A length that says more than is there, or less.
            10 if !input.is_empty() => {
                let by = 1 + self.below(8) as u8;
                input[at] =
                    if self.below(2) == 0 { input[at].wrapping_add(by) } else { input[at].wrapping_sub(by) };
            }
            // The same over and over.
            11 => {
                let (from, to) = self.piece(input.len(), 4);
                let piece = input[from..to].repeat(1 + self.below(400));
                input.splice(at..at, piece);
            }
            _ => input.push(b'0'),
        }
    }
}
