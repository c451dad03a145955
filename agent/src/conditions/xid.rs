//! Errors that NVIDIA's driver writes into the kernel's log. Parsing, pure.
//!
//! A line reads `NVRM: Xid (PCI:0000:01:00): 79, pid=1234, name=trainer, GPU has fallen off the bus.` The numbers are those of NVIDIA's
//! catalogue (<https://docs.nvidia.com/deploy/xid-errors/>).

/// An error of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xid {
    /// Bus and device of the GPU.
    pub place: (u32, u32, u32),
    /// Its number in NVIDIA's catalogue.
    pub number: u32,
}

/// The numbers that speak of hardware, firmware or driver, whatever the program did. Others (13, 31, 43, 45 and so on) are what a wrong
/// program causes: were they the machine's fault, edited code could have itself run again and again.
const OF_THE_MACHINE: &[(u32, &str)] = &[
    (48, "an error of its memory that could not be corrected"),
    (54, "its power cable is not connected"),
    (61, "its firmware stopped"),
    (62, "its firmware stopped"),
    (64, "a bad row of its memory could not be replaced"),
    (74, "an error of its NVLink"),
    (79, "it has fallen off the bus"),
    (94, "an error of its memory that could not be corrected"),
    (95, "an error of its memory that could not be corrected or contained"),
    (110, "an error of its security processor"),
    (119, "its firmware does not answer"),
    (120, "its firmware failed"),
    (140, "errors of its memory that could not be corrected"),
    (143, "its firmware could not be started"),
];

impl Xid {
    /// Reads a line of the kernel's log; `None` where it is about something else.
    pub fn read(line: &str) -> Option<Xid> {
        let (_, rest) = line.split_once("NVRM: Xid (")?;
        let (place, rest) = rest.split_once(')')?;
        let digits: String =
            rest.trim_start_matches([':', ' ']).chars().take(9).take_while(char::is_ascii_digit).collect();
        Some(Xid { place: place_of(place)?, number: digits.parse().ok()? })
    }

    /// Whether it speaks of the GPU with this place on the bus, as `nvidia-smi` writes it.
    pub fn is_of(&self, bus: &str) -> bool {
        place_of(bus) == Some(self.place)
    }

    /// What is wrong with the machine, in words; `None` for what a program can cause.
    pub fn of_the_machine(&self) -> Option<&'static str> {
        OF_THE_MACHINE.iter().find(|(number, _)| *number == self.number).map(|(_, words)| *words)
    }
}

/// `PCI:0000:01:00`, `0000:01:00` or `00000000:01:00.0`: domain, bus and device.
fn place_of(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.strip_prefix("PCI:").unwrap_or(text);
    let text = text.split('.').next()?;
    let parts: Vec<u32> = text.split(':').map(|part| u32::from_str_radix(part, 16).ok()).collect::<Option<_>>()?;
    let [domain, bus, device] = parts[..] else { return None };
    Some((domain, bus, device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernels_log_are_read() {
        // Written after NVIDIA's Xid catalogue and the records of /dev/kmsg, not recorded from a device.
        for (line, number) in [
            (
                "4,1234,5678,-;NVRM: Xid (PCI:0000:41:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
                Some(79),
            ),
            ("[ 12.3] NVRM: Xid (PCI:0000:41:00): 13, pid=4242, name=trainer, Graphics SM Warp Exception", Some(13)),
            ("NVRM: Xid (0000:41:00): 14, Channel 00000001", Some(14)),
            ("NVRM: GPU at PCI:0000:41:00: GPU-b850f46d", None),
            ("NVRM: Xid (PCI:0000:41:00): x", None),
            ("NVRM: Xid (PCI:0000:41): 79", None),
            ("NVRM: Xid (PCI:0000:41:00): 99999999999999999999", Some(999_999_999)),
            ("", None),
        ] {
            assert_eq!(Xid::read(line).map(|xid| xid.number), number, "{line}");
            assert!(Xid::read(line).is_none_or(|xid| xid.is_of("00000000:41:00.0") && !xid.is_of("00000000:42:00.0")));
        }
    }

    #[test]
    fn what_a_program_causes_is_not_the_machines() {
        let place = (0, 1, 0);
        for number in [13, 31, 43, 45, 63, 92, 0] {
            assert_eq!(Xid { place, number }.of_the_machine(), None, "{number}");
        }
        for number in [48, 79, 95, 119] {
            assert!(Xid { place, number }.of_the_machine().is_some(), "{number}");
        }
    }
}
