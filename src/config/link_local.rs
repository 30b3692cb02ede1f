//! Addresses that no owner of orders has: link-local ones, where clouds keep their metadata and the
//! credentials of the machine. Refused unless an order type allows them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services outside of the link-local ranges: EC2 over IPv6, Alibaba Cloud, Oracle Cloud.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Whether an address is link-local (169.254.0.0/16, `fe80::/10`) or of a known metadata service, in
/// whatever form an IPv6 address can carry an IPv4 one: mapped, compatible, NAT64, 6to4.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6 == METADATA_V6
                || carried(v6).is_some_and(|v4| is_link_local(IpAddr::V4(v4)))
        }
    }
}

fn carried(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [s0, s1, s2, s3, s4, s5, high, low] = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match [s0, s1, s2, s3, s4, s5] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(high, low)),
        [0x2002, ..] => Some(v4(s1, s2)),
        _ => None,
    }
}

/// As [`is_link_local`], of a URL's host; a name is none, whatever it resolves to.
pub(super) fn names_link_local(host: &str) -> bool {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .is_ok_and(is_link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_known_in_every_form() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "169.254.255.255",
            "fe80::1",
            "febf::1",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "192.0.0.192",
            "::ffff:100.100.100.200",
        ] {
            assert!(is_link_local(address.parse().unwrap()), "{address}");
            assert!(names_link_local(&format!("[{address}]")), "{address}");
        }
        for address in [
            "169.253.255.255",
            "169.255.0.0",
            "127.0.0.1",
            "10.0.0.1",
            "::1",
            "fec0::1",
            "fd00::1",
            "2002:a00:1::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(!is_link_local(address.parse().unwrap()), "{address}");
        }
        assert!(!names_link_local("metadata.internal"));
    }
}
