//! What people do in five channels, each of which knows something else of them; who did it comes along.
//!
//! ```text
//! web         device, and a login in four of ten
//! app         device, login, in seven of ten an address of mail
//! newsletter  address of mail
//! shop        address of mail, name, street, in half of them a phone
//! crm         name, birth, street, phone, in half of them an address of mail
//! ```
//!
//! One person in five moves house, one in ten changes the address of mail. One in twelve shares a device with somebody else, one shop order in
//! thirty bears the address of an office. Cells of shop and crm are mistyped or lacking as those of [`super::people`]. Nobody in it exists.

use super::people::Draw;
use super::philox::Purpose;

/// The channels, in the order of their numbers.
pub const CHANNELS: [&str; 5] = ["web", "app", "newsletter", "shop", "crm"];

/// Names of the cells of a touch, in their order.
pub const TOUCH_COLUMNS: [&str; 10] =
    ["login", "device", "email", "given_name", "family_name", "born", "street", "postcode", "town", "phone"];

/// Days that touches are spread over, from 1 January 2024.
const DAYS: usize = 730;

/// Something that a person did in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// Place in [`CHANNELS`].
    pub channel: usize,
    /// Who it was.
    pub person: u32,
    /// When, as `2025-03-31`.
    pub day: String,
    /// The cells, none where the channel does not know one.
    pub cells: [Option<String>; 10],
}

/// Makes two to seven touches of each of `n` people.
#[must_use]
pub fn touches(n: u32, seed: u64) -> Vec<Touch> {
    let mut touches = Vec::new();
    for person in 0..n {
        let mut draw = Draw::new(seed, Purpose::Touches, person);
        let known = Known::new(person, &mut draw, seed);
        let mut days: Vec<usize> = (0..2 + draw.below(6)).map(|_| draw.below(DAYS)).collect();
        days.sort_unstable();
        touches.extend(days.into_iter().map(|day| known.touch(day, &mut draw)));
    }
    touches
}

/// All that could be known of a person.
struct Known {
    person: u32,
    login: Option<String>,
    devices: Vec<String>,
    /// Cells as they are before and after the day of a move.
    cells: [[Option<String>; 8]; 2],
    moves_on: usize,
}

impl Known {
    fn new(person: u32, draw: &mut Draw, seed: u64) -> Self {
        let before = draw.person();
        let mut after = before.clone();
        let elsewhere = Draw::new(seed, Purpose::Touches, person ^ 1 << 31).person();
        if draw.below(5) == 0 {
            after[3..6].clone_from_slice(&elsewhere[3..6]);
        }
        if draw.below(10) == 0 {
            after[6] = before[6].as_ref().map(|address| format!("{}@neu.example", address.split('@').next().unwrap_or_default()));
        }
        let login = (draw.below(10) < 7).then(|| format!("user{}", 10_000 + 7 * person));
        let mut devices: Vec<String> = (0..1 + draw.below(4) as u32 / 3).map(|nth| device(person, nth)).collect();
        if draw.below(12) == 0 {
            // That of the person before.
            devices.push(device(person.saturating_sub(1), 0));
        }
        Self { person, login, devices, cells: [before, after], moves_on: draw.below(DAYS) }
    }

    fn touch(&self, day: usize, draw: &mut Draw) -> Touch {
        let channel = draw.below(CHANNELS.len());
        let known = &self.cells[usize::from(day >= self.moves_on)];
        let [given, family, born, street, postcode, town, email, phone] =
            if matches!(CHANNELS[channel], "shop" | "crm") { draw.again(known) } else { known.clone() };
        let device = Some(self.devices[draw.below(self.devices.len())].clone());
        let (has_login, has_email, half) = (draw.below(10) < 4, draw.below(10) < 7, draw.below(2) == 0);
        let email = if draw.below(30) == 0 { Some("office@example.com".to_owned()) } else { email };
        let cells = match CHANNELS[channel] {
            "web" => [self.login.clone().filter(|_| has_login), device, None, None, None, None, None, None, None, None],
            "app" => [self.login.clone(), device, known[6].clone().filter(|_| has_email), None, None, None, None, None, None, None],
            "newsletter" => [None, None, known[6].clone(), given.filter(|_| half), None, None, None, None, None, None],
            "shop" => [None, None, email, given, family, None, street, postcode, town, phone.filter(|_| half)],
            _ => [None, None, known[6].clone().filter(|_| half), given, family, born, street, postcode, town, phone],
        };
        Touch { channel, person: self.person, day: date(day), cells }
    }
}

fn device(person: u32, nth: u32) -> String {
    // Odd multipliers make each of them one of its own.
    format!("d-{:08x}", (2 * person + nth + 1).wrapping_mul(0x9e37_79b1))
}

/// Writes a day of 2024 or 2025.
fn date(day: usize) -> String {
    const LEAP: usize = 366;
    let (year, mut left) = if day < LEAP { (2024, day) } else { (2025, day - LEAP) };
    let months = [31, if year == 2024 { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, left + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn channels_know_what_they_know() {
        let touches = touches(500, 3);
        assert_eq!(touches, super::touches(500, 3));
        let mut of_device: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for touch in &touches {
            let has = |column: &str| touch.cells[TOUCH_COLUMNS.iter().position(|name| *name == column).unwrap_or(0)].is_some();
            match CHANNELS[touch.channel] {
                "web" | "app" => assert!(has("device") && !has("family_name"), "{touch:?}"),
                "newsletter" => assert!(has("email") && !has("device"), "{touch:?}"),
                _ => assert!(!has("device") && !has("login"), "{touch:?}"),
            }
            if let Some(device) = &touch.cells[1] {
                of_device.entry(device).or_default().insert(touch.person);
            }
        }
        let shared = of_device.values().filter(|people| people.len() > 1).count();
        assert!(shared > 5 && shared < of_device.len() / 10, "{shared} of {} devices are shared", of_device.len());
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let days =
            [(0, "2024-01-01"), (59, "2024-02-29"), (60, "2024-03-01"), (365, "2024-12-31"), (366, "2025-01-01"), (729, "2025-12-30")];
        for (day, written) in days {
            assert_eq!(date(day), written);
        }
    }
}
