//! Customers in two systems, some of them in both and some twice in one, with the errors that people make; the truth comes along.
//!
//! Nobody in it exists. Given and family names, streets and towns are common ones put together by chance.

use super::philox::{Purpose, Stream};

const GIVEN: &[&str] = &[
    "Anna",
    "Alessandro",
    "Beatrice",
    "Bruno",
    "Carla",
    "Chiara",
    "Claudio",
    "Daniela",
    "Davide",
    "Elena",
    "Elisa",
    "Fabio",
    "Federica",
    "Francesca",
    "Francesco",
    "Giada",
    "Giorgio",
    "Giovanni",
    "Giulia",
    "Hans",
    "Ilaria",
    "Ivan",
    "Jonas",
    "Katharina",
    "Laura",
    "Lorenzo",
    "Luca",
    "Lucia",
    "Marco",
    "Maria",
    "Marta",
    "Martin",
    "Matteo",
    "Monika",
    "Nicola",
    "Olga",
    "Paola",
    "Paolo",
    "Pietro",
    "Renate",
    "Roberto",
    "Sara",
    "Silvia",
    "Simone",
    "Sofia",
    "Stefan",
    "Teresa",
    "Thomas",
    "Valentina",
    "Viktor",
];
const FAMILY: &[&str] = &[
    "Amato",
    "Barbieri",
    "Bauer",
    "Bianchi",
    "Bianco",
    "Bruno",
    "Caruso",
    "Colombo",
    "Conti",
    "Costa",
    "De Luca",
    "Esposito",
    "Fabbri",
    "Ferrara",
    "Ferrari",
    "Fischer",
    "Fontana",
    "Galli",
    "Gallo",
    "Gentile",
    "Giordano",
    "Greco",
    "Gruber",
    "Huber",
    "Keller",
    "Leone",
    "Lombardi",
    "Longo",
    "Mancini",
    "Marchetti",
    "Mariani",
    "Marini",
    "Marino",
    "Martinelli",
    "Mayer",
    "Messina",
    "Moretti",
    "Moser",
    "Neri",
    "Orlando",
    "Pellegrini",
    "Pichler",
    "Ricci",
    "Rinaldi",
    "Rizzo",
    "Romano",
    "Rossi",
    "Russo",
    "Santoro",
    "Schmid",
    "Serra",
    "Silvestri",
    "Steiner",
    "Testa",
    "Valentini",
    "Villa",
    "Vitale",
    "Weber",
    "Wieser",
    "Zanetti",
];
const STREETS: &[&str] = &[
    "Via Roma",
    "Via Garibaldi",
    "Corso Italia",
    "Via Mazzini",
    "Via Dante",
    "Piazza Duomo",
    "Via Cavour",
    "Via Verdi",
    "Viale Trento",
    "Via Marconi",
    "Via Goethe",
    "Via Manzoni",
    "Via Leopardi",
    "Lungarno Pacinotti",
    "Via San Marco",
    "Via Portici",
    "Via Volta",
    "Via Galilei",
    "Via dei Mille",
    "Viale Europa",
];
const TOWNS: &[(&str, &str)] = &[
    ("Bolzano", "39100"),
    ("Trento", "38122"),
    ("Verona", "37121"),
    ("Milano", "20121"),
    ("Torino", "10121"),
    ("Bologna", "40121"),
    ("Firenze", "50122"),
    ("Roma", "00184"),
    ("Napoli", "80134"),
    ("Padova", "35121"),
    ("Merano", "39012"),
    ("Brescia", "25121"),
    ("Pisa", "56125"),
    ("Genova", "16121"),
    ("Udine", "33100"),
    ("Parma", "43121"),
];
const HOSTS: &[&str] = &["example.com", "example.org", "mail.example", "post.example"];

/// Names of the cells of a person, in their order.
pub const PEOPLE_COLUMNS: [&str; 8] = ["given_name", "family_name", "born", "street", "postcode", "town", "email", "phone"];

/// A row of one of the systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Which system: 0 or 1.
    pub system: usize,
    /// Who it is: rows with the same number are one person.
    pub entity: u32,
    /// The cells, none where one is not there.
    pub cells: [Option<String>; 8],
}

/// Makes rows of `n` people: three in four in one system, one in four in both; one row in 20 of a system is there twice; three cells in
/// 20 of a second row are wrong or not there.
#[must_use]
pub fn people(n: u32, seed: u64) -> Vec<Person> {
    let mut rows = Vec::new();
    for entity in 0..n {
        let mut draw = Draw::new(seed, Purpose::Person, entity);
        let first = draw.person();
        let system = draw.below(2);
        rows.push(Person { system, entity, cells: first.clone() });
        if draw.below(4) == 0 {
            rows.push(Person { system: 1 - system, entity, cells: draw.again(&first) });
        }
        if draw.below(20) == 0 {
            rows.push(Person { system, entity, cells: draw.again(&first) });
        }
    }
    rows
}

/// Draws for one person, one after the other.
pub(super) struct Draw {
    stream: Stream,
    next: u64,
}

impl Draw {
    pub(super) fn new(seed: u64, purpose: Purpose, person: u32) -> Self {
        Self { stream: Stream::new(seed, purpose, person), next: 0 }
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        let bits = self.stream.bits(self.next);
        self.next += 1;
        (((bits >> 32) * n as u64) >> 32) as usize
    }

    /// Common names are common: the first of a list come oftener.
    fn skewed<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let most = self.below(list.len()) + 1;
        list[self.below(most)]
    }

    pub(super) fn person(&mut self) -> [Option<String>; 8] {
        let (given, family) = (self.skewed(GIVEN), self.skewed(FAMILY));
        let born = format!("{}-{:02}-{:02}", 1935 + self.below(70), 1 + self.below(12), 1 + self.below(28));
        let street = format!("{} {}", STREETS[self.below(STREETS.len())], 1 + self.below(180));
        let (town, postcode) = TOWNS[self.below(TOWNS.len())];
        let number = self.below(100);
        let email =
            format!("{}.{}{number}@{}", given.to_lowercase(), family.to_lowercase().replace(' ', ""), HOSTS[self.below(HOSTS.len())]);
        let phone = format!("+39 3{:02} {:03} {:04}", self.below(100), self.below(1_000), self.below(10_000));
        let has_phone = self.below(4) > 0;
        let [given, family, born, street, postcode, town, email, phone] =
            [given, family, &born, &street, postcode, town, &email, &phone].map(|cell| Some(cell.to_owned()));
        [given, family, born, street, postcode, town, email, phone.filter(|_| has_phone)]
    }

    /// The same person in another row.
    pub(super) fn again(&mut self, cells: &[Option<String>; 8]) -> [Option<String>; 8] {
        cells.clone().map(|cell| match self.below(20) {
            0 => None,
            1 | 2 => cell.map(|text| self.mistyped(&text)),
            _ => cell,
        })
    }

    /// A letter left out, doubled, swapped with the next or replaced, or a given name cut to its first letter.
    fn mistyped(&mut self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        let at = self.below(letters.len());
        match self.below(5) {
            0 if letters.len() > 2 => drop(letters.remove(at)),
            1 => letters.insert(at, letters[at]),
            2 if at + 1 < letters.len() => letters.swap(at, at + 1),
            3 if letters[0].is_alphabetic() && letters.len() < 12 => letters.truncate(1),
            _ => letters[at] = if letters[at].is_ascii_digit() { char::from(b'0' + self.below(10) as u8) } else { 'e' },
        }
        letters.into_iter().collect()
    }
}
