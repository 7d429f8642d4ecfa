//! Which addresses are nobody's business of a customer: this machine, this network, and what was never meant for the public Internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

const V6: [(Ipv6Addr, u32); 11] = [
    // Loopback, unspecified, version 4 in its several disguises.
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 8),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Where NAT64 gateways put version 4.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// True for an address that is not public.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => V4
            .iter()
            .any(|(network, length)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *length),
        // Judged by what the gateway will connect to: a host behind NAT64 reaches all of version 4 this way.
        IpAddr::V6(address) if is_in(address, NAT64) => {
            is_forbidden(IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() as u32)))
        }
        IpAddr::V6(address) => V6.iter().any(|network| is_in(address, *network)),
    }
}

fn is_in(address: Ipv6Addr, (network, length): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ network.to_bits()).leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use ipnet::{IpNet, Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;

    /// Written down once more, as the standards do: the two must agree.
    const FORBIDDEN: &str = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 \
        192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 \
        ::/8 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8";

    fn networks() -> Vec<IpNet> {
        FORBIDDEN
            .split_whitespace()
            .map(|text| text.parse().expect("a network"))
            .collect()
    }

    fn expected(address: IpAddr) -> bool {
        let nat64: IpNet = "64:ff9b::/96".parse().expect("a network");
        match address {
            IpAddr::V6(inner) if nat64.contains(&address) => {
                let [.., a, b, c, d] = inner.octets();
                expected(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
            }
            _ => networks().iter().any(|network| network.contains(&address)),
        }
    }

    #[test]
    fn both_ends_of_every_range_are_inside_and_their_neighbours_are_judged_for_themselves() {
        for network in networks() {
            let (first, last) = (network.network(), network.broadcast());
            assert!(is_forbidden(first) && is_forbidden(last), "{network}");
            let neighbours = match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    [first.to_bits().checked_sub(1), last.to_bits().checked_add(1)]
                        .map(|bits| bits.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))))
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    [first.to_bits().checked_sub(1), last.to_bits().checked_add(1)]
                        .map(|bits| bits.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))))
                }
                _ => unreachable!("a network is of one family"),
            };
            for neighbour in neighbours.into_iter().flatten() {
                assert_eq!(is_forbidden(neighbour), expected(neighbour), "{neighbour}");
            }
        }
    }

    #[test]
    fn known_public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.215.14",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450:4001::1",
            "64:ff9b::808:808",
        ] {
            assert!(!is_forbidden(text.parse().expect("an address")), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn any_version_4_address_is_judged_as_the_list_says(bits: u32) {
            let address = IpAddr::V4(Ipv4Addr::from_bits(bits));
            prop_assert_eq!(is_forbidden(address), expected(address));
        }

        #[test]
        fn any_version_6_address_is_judged_as_the_list_says(bits: u128) {
            let address = IpAddr::V6(Ipv6Addr::from_bits(bits));
            prop_assert_eq!(is_forbidden(address), expected(address));
        }

        #[test]
        fn whatever_lies_inside_a_range_is_forbidden(at in 0_usize..26, bits: u128) {
            let inside = match networks()[at] {
                IpNet::V4(network) => v4_inside(network, bits as u32),
                IpNet::V6(network) => v6_inside(network, bits),
            };
            let nat64: IpNet = "64:ff9b::/96".parse().expect("a network");
            prop_assert!(is_forbidden(inside) || nat64.contains(&inside));
        }

        #[test]
        fn what_nat64_carries_is_judged_by_what_it_carries(bits: u32) {
            let inner = Ipv4Addr::from_bits(bits);
            let outer = Ipv6Addr::from_bits((0x0064_ff9b_u128 << 96) | u128::from(bits));
            prop_assert_eq!(is_forbidden(outer.into()), is_forbidden(inner.into()));
            prop_assert!(is_forbidden(inner.to_ipv6_mapped().into()));
        }
    }

    fn v4_inside(network: Ipv4Net, bits: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(
            network.network().to_bits() | (bits & network.hostmask().to_bits()),
        ))
    }

    fn v6_inside(network: Ipv6Net, bits: u128) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(
            network.network().to_bits() | (bits & network.hostmask().to_bits()),
        ))
    }
}
