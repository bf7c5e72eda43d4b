//! Everything the world leaves to chance, drawn from one seed.
//!
//! A draw belongs to a *name*, not to a place in the order of events: [`Draw::named`] gives a generator of its own
//! for each name. So a deed that is taken out of a plan leaves every other deed's draws as they were, and a story can be
//! shortened. The generator is SplitMix64, written out here because a kept seed must mean the same for ever.

/// A generator.
#[derive(Clone, Debug)]
pub struct Draw {
    state: u64,
}

impl Draw {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: mix(seed ^ 0x6b61_6962_6961_6f31) }
    }

    /// A generator of its own for this name; this one does not move.
    pub fn named(&self, name: &str) -> Self {
        self.of(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }

    /// A generator of its own for this number; this one does not move.
    pub fn of(&self, number: u64) -> Self {
        Self { state: mix(self.state ^ mix(number)) }
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number from `from` to `to`, both included; `from` where there is none between.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        let width = to.saturating_sub(from).saturating_add(1);
        from + ((u128::from(self.bits()) * u128::from(width)) >> 64) as u64
    }

    /// True so many times in a thousand.
    pub fn per_mille(&mut self, chance: u32) -> bool {
        self.between(0, 999) < u64::from(chance)
    }

    /// One of these.
    ///
    /// # Panics
    /// There is none.
    pub fn one_of<'a, T>(&mut self, these: &'a [T]) -> &'a T {
        let last = these.len().checked_sub(1).expect("there is something to draw from");
        &these[self.between(0, last as u64) as usize]
    }

    /// 16 bytes, for an id.
    pub fn id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.bits().to_be_bytes());
        id[8..].copy_from_slice(&self.bits().to_be_bytes());
        id
    }

    /// A duration in microseconds whose half lies below `usual_us` and whose tail is long: mostly near it, seldom ten
    /// times, hardly ever a hundred times as long.
    pub fn latency_us(&mut self, usual_us: u64) -> u64 {
        let base = self.between(usual_us / 2, usual_us + usual_us / 2);
        match self.between(0, 999) {
            0..=1 => base * 100,
            2..=29 => base * 10,
            _ => base,
        }
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut draw = Draw::new(7);
        assert_eq!((draw.bits(), draw.bits()), SEVEN);
    }

    #[test]
    fn what_one_name_draws_moves_no_other() {
        let root = Draw::new(1);
        let before = root.named("b").bits();
        root.named("a").bits();
        assert_eq!(root.named("b").bits(), before);
        assert_ne!(root.named("a").bits(), before);
        assert_ne!(root.of(1).bits(), root.of(2).bits());
    }

    #[test]
    fn a_draw_keeps_its_bounds_and_reaches_them() {
        let mut draw = Draw::new(3);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| draw.between(5, 8)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [5, 6, 7, 8]);
        assert_eq!(draw.between(4, 4), 4);
        let often = (0..10_000).filter(|_| draw.per_mille(100)).count();
        assert!((800..1_200).contains(&often), "{often}");
    }

    const SEVEN: (u64, u64) = (2_480_816_868_277_730_017, 13_533_013_023_719_035_178);
}
