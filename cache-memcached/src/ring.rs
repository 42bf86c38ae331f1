//! The server of each key.

/// Rendezvous hashing (Thaler and Ravishankar, 1996): each server has a score for a key, and the
/// server with the highest score has the key. A server that joins or leaves does not change the
/// scores of the others, so only the keys that it wins or had are moved. A server of weight 3 has
/// three scores, and the highest applies.
///
/// The scores are part of the promise: other processes and later releases must find the same
/// server.
#[derive(Debug)]
pub(crate) struct Ring {
    /// For each server, a seed for each unit of its weight.
    seeds: Vec<Vec<u64>>,
}

impl Ring {
    /// Creates the ring of these servers, with their weights.
    pub(crate) fn new(servers: &[(String, u32)]) -> Self {
        let seeds = |(name, weight): &(String, u32)| {
            (0..*weight).map(|unit| hash(&format!("{name}#{unit}"))).collect()
        };
        Self { seeds: servers.iter().map(seeds).collect() }
    }

    /// Returns the server of a key.
    pub(crate) fn first(&self, key: &str) -> usize {
        if self.seeds.len() == 1 {
            return 0;
        }
        let key = hash(key);
        let best = (0..self.seeds.len()).max_by_key(|&it| (self.score(it, key), usize::MAX - it));
        best.unwrap_or_default()
    }

    /// Returns all servers in the order in which they take over the key while the servers before
    /// them are down.
    pub(crate) fn order(&self, key: &str) -> Vec<usize> {
        let key = hash(key);
        let mut res: Vec<_> = (0..self.seeds.len()).collect();
        res.sort_by_key(|&it| (std::cmp::Reverse(self.score(it, key)), it));
        res
    }

    fn score(&self, server: usize, key: u64) -> u64 {
        self.seeds[server].iter().map(|seed| mix(seed ^ key)).max().unwrap_or_default()
    }
}

/// FNV-1a over the bytes, followed by [`mix`].
pub(crate) fn hash(text: &str) -> u64 {
    let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(sum)
}

/// The last steps of `SplitMix64`.
fn mix(it: u64) -> u64 {
    let it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    it ^ (it >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: usize = 100_000;

    fn ring(servers: &[(&str, u32)]) -> Ring {
        let servers: Vec<_> =
            servers.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        Ring::new(&servers)
    }

    fn keys() -> impl Iterator<Item = String> {
        (0..KEYS).map(|i| format!("shop:1:user:{i}"))
    }

    #[expect(clippy::cast_precision_loss, reason = "shares of a hundred thousand")]
    fn share(count: usize) -> f64 {
        count as f64 / KEYS as f64
    }

    #[test]
    fn servers_of_keys_do_not_depend_on_process_or_release() {
        let ring = ring(&[("10.0.0.1:11211", 1), ("10.0.0.2:11211", 1), ("10.0.0.3:11211", 2)]);
        let servers: Vec<_> = (0..16).map(|i| ring.first(&format!(":1:key{i}"))).collect();
        assert_eq!(servers, SERVERS);
        assert_eq!(hash("cache"), HASH);
    }

    #[test]
    fn keys_are_spread_by_weight() {
        for weights in [vec![1, 1, 1], vec![1, 2, 3], vec![5, 1, 1, 1]] {
            let servers: Vec<_> =
                weights.iter().enumerate().map(|(i, it)| (format!("s{i}:1"), *it)).collect();
            let ring = Ring::new(&servers);
            let mut counts = vec![0; weights.len()];
            keys().for_each(|it| counts[ring.first(&it)] += 1);
            let sum: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let expected = f64::from(*weight) / f64::from(sum);
                assert!((share(*count) - expected).abs() < 0.02, "{weights:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn joining_or_leaving_server_moves_only_its_share() {
        let four = ring(&[("a:1", 1), ("b:1", 1), ("c:1", 1), ("d:1", 1)]);
        let five = ring(&[("a:1", 1), ("b:1", 1), ("c:1", 1), ("d:1", 1), ("e:1", 1)]);
        let mut moved = 0;
        for key in keys() {
            let (before, after) = (four.first(&key), five.first(&key));
            if before != after {
                assert_eq!(after, 4, "only to the new server");
                assert_eq!(
                    five.order(&key)[1],
                    before,
                    "the next server has the key while the new server is down"
                );
                moved += 1;
            }
        }
        assert!((share(moved) - 0.2).abs() < 0.01, "{moved}");
    }

    #[test]
    fn order_begins_with_the_first_and_contains_all() {
        let ring = ring(&[("a:1", 1), ("b:1", 3), ("c:1", 1)]);
        for key in keys().take(1000) {
            let mut order = ring.order(&key);
            assert_eq!(order[0], ring.first(&key));
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
    }

    const SERVERS: [usize; 16] = [2, 2, 1, 2, 0, 1, 2, 2, 0, 2, 1, 2, 1, 0, 0, 0];
    const HASH: u64 = 12_947_855_849_717_652_792;
}
