//! Short memory and hot processors, as Linux tells of them. Parsing, pure.

/// Reads /proc/pressure/memory: microseconds in which everything that wanted to run waited for memory.
pub fn stalled_micros(pressure: &str) -> Option<u64> {
    let line = pressure.lines().find(|line| line.starts_with("full "))?;
    line.split_whitespace().find_map(|field| field.strip_prefix("total=")?.parse().ok())
}

/// Reads /proc/vmstat: pages that were swapped in or out.
pub fn swapped_pages(vmstat: &str) -> Option<u64> {
    let read = |name: &str| {
        let fields = vmstat.lines().filter_map(|line| line.split_once(' '));
        fields.into_iter().find(|(key, _)| *key == name).and_then(|(_, value)| value.trim().parse::<u64>().ok())
    };
    Some(read("pswpin")?.saturating_add(read("pswpout")?))
}

/// Reads the text of `package_throttle_total_time_ms` or `core_throttle_total_time_ms`: milliseconds for which the hardware held the clock
/// down because of heat.
pub fn throttled_millis(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        // Written after the kernel's Documentation/accounting/psi.rst.
        let pressure = "some avg10=1.00 avg60=0.89 avg300=2.74 total=312938387\nfull avg10=0.97 avg60=0.74 avg300=2.37 total=117331830\n";
        assert_eq!(stalled_micros(pressure), Some(117_331_830));
        assert_eq!(stalled_micros("some avg10=0.00 total=5\n"), None);
        assert_eq!(stalled_micros("full avg10=0.00 total=x\n"), None);
        assert_eq!(swapped_pages("nr_free_pages 1\npswpin 7\npswpout 35\npswpin_other 1\n"), Some(42));
        assert_eq!(swapped_pages("pswpin 7\n"), None);
        assert_eq!(throttled_millis("1234\n"), Some(1234));
        assert_eq!(throttled_millis(""), None);
    }
}
