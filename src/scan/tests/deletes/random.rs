//! Random deletes, predicates and settings, against a reader that keeps rows in a list.

use super::*;

/// A generator that gives the same numbers on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[derive(Debug, Clone)]
struct Row {
    a: i64,
    b: String,
}

/// A table whose files are known row by row.
struct Naive<'a> {
    shop: &'a Shop,
    dice: Dice,
    /// The live rows of each file, by position.
    files: Vec<(String, Vec<Option<Row>>)>,
}

impl Naive<'_> {
    async fn append(&mut self) {
        let rows = 1 + self.dice.below(300);
        let sorted = self.dice.below(2) == 0;
        let mut all: Vec<Row> =
            (0..rows).map(|_| Row { a: self.dice.below(500) as i64, b: format!("b{}", self.dice.below(9)) }).collect();
        if sorted {
            all.sort_by_key(|row| row.a);
        }
        let mut files = Files::of(self.shop);
        let b: Vec<&str> = all.iter().map(|row| row.b.as_str()).collect();
        let location = files.data(longs(all.iter().map(|row| row.a)), texts(&b)).await;
        files.commit().await;
        self.files.push((location, all.into_iter().map(Some).collect()));
    }

    /// Each file gets a few deletes, many, or a long stretch of them.
    async fn delete_positions(&mut self, by_vector: bool) {
        let mut files = Files::of(self.shop);
        let mut positions: Vec<(String, i64)> = Vec::new();
        for (location, rows) in &mut self.files {
            let end = rows.len() as u64;
            let kind = self.dice.below(4);
            for _ in 0..[0, 3, end / 3, 0][kind as usize] {
                rows[self.dice.below(end) as usize] = None;
            }
            if kind == 3 {
                let from = self.dice.below(end) as usize;
                let to = from + self.dice.below(end - from as u64) as usize;
                rows[from..=to].fill(None);
            }
            let gone = rows.iter().enumerate().filter(|(_, row)| row.is_none()).map(|(at, _)| at as u64);
            if by_vector {
                files.vector(location, gone).await;
            } else {
                positions.extend(gone.map(|at| (location.clone(), at as i64)));
            }
        }
        if !positions.is_empty() {
            let all: Vec<(&str, i64)> = positions.iter().map(|(path, at)| (path.as_str(), *at)).collect();
            files.positions(&all, None).await;
        }
        files.commit().await;
    }

    async fn delete_keys(&mut self) {
        let mut files = Files::of(self.shop);
        if self.dice.below(2) == 0 {
            let gone: Vec<i64> = (0..self.dice.below(40)).map(|_| self.dice.below(600) as i64).chain([5]).collect();
            files.keys(&[("a", 1, longs(gone.clone()))]).await;
            self.drop(|row| gone.contains(&row.a));
        } else {
            let gone = format!("b{}", self.dice.below(9));
            files.keys(&[("b", 2, texts(&[&gone])), ("a", 1, longs([100]))]).await;
            self.drop(|row| row.b == gone && row.a == 100);
        }
        files.commit().await;
    }

    fn drop(&mut self, is_gone: impl Fn(&Row) -> bool) {
        for row in self.files.iter_mut().flat_map(|(_, rows)| rows) {
            if row.as_ref().is_some_and(&is_gone) {
                *row = None;
            }
        }
    }

    async fn check(&mut self, columns: &[(&str, i32)]) {
        let (low, b) = (self.dice.below(500) as i64, format!("b{}", self.dice.below(9)));
        let high = low + self.dice.below(60) as i64;
        type Test = Box<dyn Fn(&Row) -> bool>;
        let same = b.clone();
        let cases: [(String, Test); 4] = [
            ("true".into(), Box::new(|_| true)),
            (format!("a >= {low} AND a < {high}"), Box::new(move |row| row.a >= low && row.a < high)),
            (format!("a = {low}"), Box::new(move |row| row.a == low)),
            (format!("a > {low} AND b = '{b}'"), Box::new(move |row| row.a > low && row.b == same)),
        ];
        for (filter, test) in cases {
            let live = self.files.iter().flat_map(|(_, rows)| rows).flatten().filter(|row| test(row));
            let mut expect: Vec<String> = live.map(|row| format!("{} {}", row.a, row.b)).collect();
            expect.sort();
            for pushdown in [false, true] {
                let mut config = settings(pushdown).with_target_partitions(1 + self.dice.below(3) as usize);
                config.options_mut().optimizer.repartition_file_min_size = 1 + self.dice.below(2000) as usize;
                config.options_mut().optimizer.enable_topk_dynamic_filter_pushdown = self.dice.below(2) == 0;
                config.options_mut().execution.parquet.reorder_filters = self.dice.below(2) == 0;
                config.options_mut().execution.parquet.force_filter_selections = self.dice.below(4) == 0;
                let run = async |sql: String| {
                    rows_in(context_with(self.shop, config.clone()), self.shop, columns, &sql).await.unwrap()
                };
                let filter = if filter == "true" { "" } else { &format!("WHERE {filter}") };
                let mut got = run(format!("SELECT a, b FROM t {filter}")).await;
                got.sort();
                assert_eq!(got, expect, "{filter}, pushdown {pushdown}");
                let count = run(format!("SELECT count(*) FROM t {filter}")).await;
                assert_eq!(count, [expect.len().to_string()], "count where {filter}, pushdown {pushdown}");
                let order = if self.dice.below(2) == 0 { "DESC" } else { "ASC" };
                let top = run(format!("SELECT a FROM t {filter} ORDER BY a {order} LIMIT 7")).await;
                let mut all: Vec<i64> =
                    expect.iter().map(|row| row.split(' ').next().unwrap().parse().unwrap()).collect();
                all.sort_by_key(|a| if order == "ASC" { *a } else { -*a });
                all.truncate(7);
                assert_eq!(top, all.iter().map(i64::to_string).collect::<Vec<_>>(), "top {order} where {filter}");
                let limit = 1 + self.dice.below(40) as usize;
                let some = run(format!("SELECT a, b FROM t {filter} LIMIT {limit}")).await;
                assert_eq!(some.len(), expect.len().min(limit), "{filter} LIMIT {limit}");
                assert!(some.iter().all(|row| expect.binary_search(row).is_ok()), "{filter} LIMIT {limit}");
            }
        }
    }
}

#[tokio::test]
async fn random_deletes_leave_what_a_naive_reader_keeps() {
    for seed in 0..4 {
        let by_vector = seed % 2 == 1;
        let shop = table(if by_vector { 3 } else { 2 }).await;
        let mut naive = Naive { shop: &shop, dice: Dice(seed * 7919 + 1), files: Vec::new() };
        naive.append().await;
        naive.append().await;
        naive.delete_positions(by_vector).await;
        naive.check(&ALL).await;
        naive.delete_keys().await;
        naive.append().await;
        naive.delete_keys().await;
        naive.check(&ALL).await;
    }
}
