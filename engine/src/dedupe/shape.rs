//! Which columns are compared: those that say something of their own.
//!
//! Parts     of a column whose words another column holds already, only what is over is kept: `full_name` beside `first_name` and `surname`
//!           keeps the names between
//! Aligned   between sources with different columns, two columns of one content that each source has alone and that hold the same texts are one

use super::records::{ColumnBuilder, Content, MISSING, RecordColumn, Records, words};

/// Cells that a column needs, of a source's records.
const LEAST_SHARE: f64 = 0.005;

/// Returns the records with the columns that are worth comparing, and what was done about the others.
pub(super) fn shaped(mut records: Records, crosses: bool) -> (Records, Vec<String>) {
    let mut notes = Vec::new();
    let mut columns = std::mem::take(&mut records.columns);
    if crosses && records.n_sources == 2 {
        align(&records, &mut columns, &mut notes);
    }
    let is_usable = |column: &RecordColumn| {
        let mut counts = vec![0_usize; records.n_sources];
        for (row, _) in column.codes.iter().enumerate().filter(|(_, code)| **code != MISSING) {
            counts[usize::from(records.source[row])] += 1;
        }
        let least = (records.len() as f64 * LEAST_SHARE).max(2.0) as usize;
        let n_with = counts.iter().filter(|count| **count >= if crosses { least / 2 } else { least }).count();
        n_with >= if crosses { 2 } else { 1 } && column.texts.len() > 1
    };
    columns.retain(|column| {
        let usable = is_usable(column);
        if !usable {
            notes.push(format!("column `{}` is not compared: too few records that could match have it", column.name));
        }
        usable
    });
    without_parts(&mut columns, &mut notes, &|name| records.is_identifier(name));
    (Records { columns, id: None, ..records }, notes)
}

/// Returns the words of all columns as one column, where some column holds words.
pub(super) fn all_words(columns: &[RecordColumn]) -> Option<RecordColumn> {
    if columns.iter().all(|column| column.content != Content::Words) {
        return None;
    }
    let mut builder = ColumnBuilder::default();
    let mut text = String::new();
    for row in 0..columns[0].codes.len() {
        text.clear();
        for column in columns.iter().filter(|column| column.codes[row] != MISSING) {
            text.push(' ');
            text.push_str(&column.texts[column.codes[row] as usize]);
        }
        builder.push(Some(&text)).expect("there are fewer records than texts allowed");
    }
    Some(builder.finish_as("", Content::Words))
}

/// Joins columns that only one source has each.
fn align(records: &Records, columns: &mut Vec<RecordColumn>, notes: &mut Vec<String>) {
    /// Share of a source's cells whose text the other source's column holds too.
    const LEAST_SHARED: f64 = 0.5;
    let sides = |column: &RecordColumn| {
        let mut counts = [0_usize; 2];
        for (row, _) in column.codes.iter().enumerate().filter(|(_, code)| **code != MISSING) {
            counts[usize::from(records.source[row])] += 1;
        }
        counts
    };
    let counts: Vec<[usize; 2]> = columns.iter().map(sides).collect();
    let only = |side: usize| {
        let counts = &counts;
        (0..counts.len()).filter(move |&at| counts[at][side] > 20 && counts[at][1 - side] * 100 <= counts[at][side])
    };
    let mut found = Vec::new();
    for a in only(0) {
        for b in only(1) {
            if columns[a].content != columns[b].content || columns[a].content == Content::Words {
                continue;
            }
            let share = |one: &RecordColumn, other: &RecordColumn| {
                let is_shared = |(at, _): &(usize, &u32)| other.texts.find(&one.texts[*at]).is_some();
                let shared: u64 = one.counts.iter().enumerate().filter(is_shared).map(|(_, count)| u64::from(*count)).sum();
                shared as f64 / one.n_present() as f64
            };
            let shared = share(&columns[a], &columns[b]).min(share(&columns[b], &columns[a]));
            if shared >= LEAST_SHARED && columns[a].texts.len() > 2 {
                found.push((shared, a, b));
            }
        }
    }
    found.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
    let mut is_used = vec![false; columns.len()];
    for (_, a, b) in found {
        if is_used[a] || is_used[b] {
            continue;
        }
        is_used[a] = true;
        is_used[b] = true;
        let name = format!("{} = {}", columns[a].name, columns[b].name);
        notes.push(format!(
            "columns `{}` and `{}` are compared with each other: each source has one, and they hold the same",
            columns[a].name, columns[b].name
        ));
        let text =
            |column: &RecordColumn, row: usize| (column.codes[row] != MISSING).then(|| column.texts[column.codes[row] as usize].to_owned());
        let mut builder = ColumnBuilder::default();
        for row in 0..records.len() {
            builder
                .push(text(&columns[a], row).or_else(|| text(&columns[b], row)).as_deref())
                .expect("there were fewer texts in two columns");
        }
        let joined = builder.finish_as(&name, columns[a].content);
        columns.push(joined);
        is_used.push(true);
    }
}

/// Takes out of each column the words that finer columns beside it hold, but of those that are kept as they are.
fn without_parts(columns: &mut Vec<RecordColumn>, notes: &mut Vec<String>, is_kept: &dyn Fn(&str) -> bool) {
    /// Share of records with both in which the words of the part are words of the whole.
    const LEAST_HELD: f64 = 0.8;
    /// Records that are asked, at even steps, of many.
    const MOST_ASKED: usize = 20_000;
    let is_text = |column: &RecordColumn| matches!(column.content, Content::Short | Content::Words);
    let holds = |whole: &RecordColumn, part: &RecordColumn| {
        let both = whole.codes.iter().zip(&part.codes).step_by(whole.codes.len().div_ceil(MOST_ASKED).max(1));
        let both = both.filter(|(whole, part)| **whole != MISSING && **part != MISSING);
        let (mut n, mut n_held, mut n_equal) = (0_u64, 0_u64, 0_u64);
        for (&of_whole, &of_part) in both {
            let (text, inner) = (&whole.texts[of_whole as usize], &part.texts[of_part as usize]);
            n += 1;
            n_held += u64::from(words(inner).all(|word| words(text).any(|other| other == word)));
            n_equal += u64::from(text == inner);
        }
        (n > 20 && n_held as f64 >= LEAST_HELD * n as f64, n_equal as f64 >= LEAST_HELD * n as f64)
    };
    let n = columns.len();
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); n];
    for whole in 0..n {
        for part in 0..n {
            if whole == part || is_kept(&columns[whole].name) || !is_text(&columns[whole]) || !is_text(&columns[part]) {
                continue;
            }
            let (is_held, is_same) = holds(&columns[whole], &columns[part]);
            // Of two that are the same the later one is the whole, of which nothing is over.
            if is_held && (!is_same || part < whole) {
                parts[whole].push(part);
            }
        }
    }
    let is_whole: Vec<bool> = parts.iter().map(|parts| !parts.is_empty()).collect();
    let mut rests = Vec::new();
    for whole in (0..n).filter(|whole| is_whole[*whole]) {
        let fine: Vec<usize> = parts[whole].iter().copied().filter(|part| !is_whole[*part]).collect();
        let (mut builder, mut rest) = (ColumnBuilder::default(), String::new());
        for row in 0..columns[whole].codes.len() {
            let code = columns[whole].codes[row];
            if code == MISSING {
                builder.push(None).expect("a missing cell is no text");
                continue;
            }
            let is_held = |word: &str| {
                let cells = fine.iter().map(|part| (&columns[*part], columns[*part].codes[row])).filter(|(_, code)| *code != MISSING);
                cells.into_iter().any(|(part, code)| words(&part.texts[code as usize]).any(|other| other == word))
            };
            rest.clear();
            for word in words(&columns[whole].texts[code as usize]).filter(|word| !is_held(word)) {
                if !rest.is_empty() {
                    rest.push(' ');
                }
                rest.push_str(word);
            }
            builder.push(Some(&rest)).expect("there were no more texts in the whole");
        }
        let names: Vec<String> = fine.iter().map(|part| format!("`{}`", columns[*part].name)).collect();
        let name = columns[whole].name.clone();
        let rest = builder.finish(&format!("{name} (rest)"));
        if rest.n_present() * 10 >= columns[whole].n_present() {
            notes.push(format!("of column `{name}` only what is not in {} is compared", names.join(" and ")));
            rests.push((whole, Some(rest)));
        } else {
            notes.push(format!("column `{name}` is not compared: its words are in {}", names.join(" and ")));
            rests.push((whole, None));
        }
    }
    for (whole, rest) in rests.into_iter().rev() {
        match rest {
            Some(rest) => columns[whole] = rest,
            None => drop(columns.remove(whole)),
        }
    }
}
