// Tables that Iceberg's Java library writes, for what Spark's SQL cannot: equality deletes as Flink leaves them,
// defaults, nanoseconds, and types that nothing can read. Each method writes one table of its name.

import java.math.BigDecimal;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.util.*;
import org.apache.iceberg.*;
import org.apache.iceberg.catalog.*;
import org.apache.iceberg.data.*;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.deletes.*;
import org.apache.iceberg.encryption.EncryptedFiles;
import org.apache.iceberg.expressions.Literal;
import org.apache.iceberg.io.*;
import org.apache.iceberg.rest.RESTCatalog;
import org.apache.iceberg.types.Types;

public class WriteJava {
    static RESTCatalog catalog = new RESTCatalog();
    static int files = 0;

    static Table create(String name, int version, Schema schema, PartitionSpec spec) {
        TableIdentifier id = TableIdentifier.of("java", name);
        if (catalog.tableExists(id)) catalog.dropTable(id, false);
        System.out.println(name);
        return catalog.createTable(id, schema, spec, Map.of("format-version", "" + version));
    }

    static Table refreshed(Table table) {
        table.refresh();
        return table;
    }

    static OutputFile place(Table table, String kind) {
        String location = table.locationProvider().newDataLocation(String.format("%05d-%s.parquet", ++files, kind));
        return table.io().newOutputFile(location);
    }

    static GenericRecord row(Schema schema, Object... values) {
        GenericRecord record = GenericRecord.create(schema);
        for (int i = 0; i < values.length; i++) record.set(i, values[i]);
        return record;
    }

    static StructLike partition(Table table, Schema schema, Record record) {
        if (table.spec().isUnpartitioned()) return null;
        PartitionKey key = new PartitionKey(table.spec(), table.schema());
        key.partition(new InternalRecordWrapper(table.schema().asStruct()).wrap(record));
        return key;
    }

    static DataFile data(Table table, Record... rows) throws Exception {
        Schema schema = table.schema();
        var out = EncryptedFiles.plainAsEncryptedOutput(place(table, "data"));
        var writer = new GenericAppenderFactory(table, schema, table.spec(), Map.of(), null, null, null)
            .newDataWriter(out, FileFormat.PARQUET, partition(table, schema, rows[0]));
        try (writer) { for (Record row : rows) writer.write(row); }
        return writer.toDataFile();
    }

    static void append(Table table, Record... rows) throws Exception {
        table.newAppend().appendFile(data(table, rows)).commit();
    }

    // A file of deleted keys: `keys` are rows of the columns `names`, in the partition of `like` or in none.
    static DeleteFile keys(Table table, Record like, String[] names, Object[]... keys) throws Exception {
        Schema of = table.schema().select(names);
        // `select` keeps the table's order of columns; the keys are given in it.
        int[] ids = of.columns().stream().mapToInt(Types.NestedField::fieldId).toArray();
        var out = EncryptedFiles.plainAsEncryptedOutput(place(table, "keys"));
        var writer = new GenericAppenderFactory(table, table.schema(), table.spec(), Map.of(), ids, of, null)
            .newEqDeleteWriter(out, FileFormat.PARQUET, like == null ? null : partition(table, table.schema(), like));
        try (writer) { for (Object[] key : keys) writer.write(row(of, key)); }
        return writer.toDeleteFile();
    }

    static void delete(Table table, String[] names, Object[]... keys) throws Exception {
        table.newRowDelta().addDeletes(keys(table, null, names, keys)).commit();
    }

    static String[] by(String... names) { return names; }
    static Object[] key(Object... values) { return values; }

    static final Schema PEOPLE = new Schema(
        Types.NestedField.optional(1, "id", Types.IntegerType.get()),
        Types.NestedField.optional(2, "region", Types.StringType.get()),
        Types.NestedField.optional(3, "n", Types.LongType.get()),
        Types.NestedField.optional(4, "day", Types.DateType.get()));

    static Record person(int id) {
        String[] regions = {"eu", "us", null};
        return row(PEOPLE, id, regions[id % 3], id % 5 == 0 ? null : (long) id % 7, LocalDate.of(2024, 1, 1).plusDays(id % 4));
    }

    static Record[] people(int from, int to) {
        return java.util.stream.IntStream.range(from, to).mapToObj(WriteJava::person).toArray(Record[]::new);
    }

    // keys deleted in an unpartitioned table; rows written afterwards stay
    static void equality_global() throws Exception {
        Table t = create("equality_global", 2, PEOPLE, PartitionSpec.unpartitioned());
        append(t, people(0, 30));
        append(t, people(30, 60));
        delete(t, by("id"), key(3), key(33), key(999));
        append(t, person(3), person(60));
        delete(t, by("id"), key(59), key(3));
        append(t, person(59));
    }

    // NULL as a key deletes the rows with NULL
    static void equality_nulls() throws Exception {
        Table t = create("equality_nulls", 2, PEOPLE, PartitionSpec.unpartitioned());
        append(t, people(0, 30));
        append(t, row(PEOPLE, null, null, null, null), row(PEOPLE, 100, "eu", null, null));
        delete(t, by("region", "n"), key(null, 1L), key("eu", null));
        append(t, people(30, 40));
        delete(t, by("id"), key((Object) null));
    }

    // delete files over different sets of columns, some of them in one commit
    static void equality_sets() throws Exception {
        Table t = create("equality_sets", 2, PEOPLE, PartitionSpec.unpartitioned());
        append(t, people(0, 60));
        t.newRowDelta()
            .addDeletes(keys(t, null, by("id"), key(1), key(2)))
            .addDeletes(keys(t, null, by("region", "day"), key("us", LocalDate.of(2024, 1, 2))))
            .addDeletes(keys(t, null, by("n"), key(6L)))
            .commit();
        append(t, people(60, 80));
        delete(t, by("region", "n", "day"), key("eu", 3L, LocalDate.of(2024, 1, 3)), key(null, 4L, LocalDate.of(2024, 1, 1)));
    }

    // deletes in one partition leave the same keys in others alone
    static void equality_partitioned() throws Exception {
        PartitionSpec spec = PartitionSpec.builderFor(PEOPLE).identity("region").build();
        Table t = create("equality_partitioned", 2, PEOPLE, spec);
        for (int region = 0; region < 3; region++) {
            List<Record> rows = new ArrayList<>();
            for (int i = region; i < 45; i += 3) rows.add(person(i));
            append(t, rows.toArray(Record[]::new));
        }
        t.newRowDelta().addDeletes(keys(t, person(0), by("n"), key(1L), key(2L))).commit();
        t.newRowDelta().addDeletes(keys(t, person(2), by("n"), key(1L), key((Object) null))).commit();
        append(t, person(15), person(36));
    }

    // keys deleted everywhere under an unpartitioned spec, then under a later partitioned one
    static void equality_across_specs() throws Exception {
        Table t = create("equality_across_specs", 2, PEOPLE, PartitionSpec.unpartitioned());
        append(t, people(0, 20));
        t.updateSpec().addField("day").commit();
        append(t, person(20), person(24));
        append(t, person(21), person(25));
        t.newRowDelta().addDeletes(keys(t, person(20), by("id"), key(20), key(25), key(4))).commit();
        t.updateSpec().removeField("day").commit();
        delete(t, by("id"), key(21), key(0));
        append(t, person(0));
    }

    // what a Flink upsert leaves: in one commit an earlier version deleted by key, a later one by position
    static void equality_and_positions() throws Exception {
        Table t = create("equality_and_positions", 2, PEOPLE, PartitionSpec.unpartitioned());
        append(t, people(0, 20));
        for (int round = 0; round < 3; round++) {
            Record twice = row(PEOPLE, 5, "eu", 100L + round, null), other = row(PEOPLE, 6, "us", 200L + round, null);
            DataFile file = data(t, twice, other, row(PEOPLE, 5, "eu", 1000L + round, null));
            var out = EncryptedFiles.plainAsEncryptedOutput(place(t, "positions"));
            PositionDeleteWriter<Record> positions = new GenericAppenderFactory(PEOPLE)
                .newPosDeleteWriter(out, FileFormat.PARQUET, null);
            PositionDelete<Record> first = PositionDelete.create();
            try (positions) { positions.write(first.set(file.location(), 0, null)); }
            t.newRowDelta().addRows(file).addDeletes(positions.toDeleteFile())
                .addDeletes(keys(t, null, by("id"), key(5), key(6))).commit();
        }
    }

    // the key column renamed and promoted after its deletes
    static void equality_evolved() throws Exception {
        Schema narrow = new Schema(
            Types.NestedField.optional(1, "key", Types.IntegerType.get()),
            Types.NestedField.optional(2, "gone", Types.StringType.get()),
            Types.NestedField.optional(3, "x", Types.FloatType.get()));
        Table t = create("equality_evolved", 2, narrow, PartitionSpec.unpartitioned());
        append(t, row(narrow, 1, "a", 1f), row(narrow, 2, "b", 2f), row(narrow, 3, null, 3f), row(narrow, 4, "d", 4f));
        delete(t, by("key"), key(1));
        t.updateSchema().renameColumn("key", "id").updateColumn("key", Types.LongType.get()).deleteColumn("gone").commit();
        refreshed(t);
        append(t, row(t.schema(), 5_000_000_000L, 5f), row(t.schema(), 3L, 33f));
        delete(t, by("id"), key(4L));
        t.updateSchema().addColumn("gone", Types.IntegerType.get()).updateColumn("x", Types.DoubleType.get()).commit();
        refreshed(t);
        append(t, row(t.schema(), 1L, 1.5d, 7));
    }

    // columns added with a default for the rows that are there, some changed afterwards for new rows only
    static void defaults() throws Exception {
        Schema one = new Schema(Types.NestedField.required(1, "id", Types.IntegerType.get()),
            Types.NestedField.optional(2, "s", Types.StructType.of(Types.NestedField.optional(3, "a", Types.IntegerType.get()))));
        Table t = create("defaults", 3, one, PartitionSpec.unpartitioned());
        GenericRecord inner = GenericRecord.create(one.findType("s").asStructType());
        inner.set(0, 10);
        append(t, row(one, 1, inner), row(one, 2, null));
        t.updateSchema()
            .addColumn("i", Types.IntegerType.get(), "an integer", Literal.of(7))
            .addColumn("l", Types.LongType.get(), "a long", Literal.of(5_000_000_000L))
            .addColumn("d", Types.DoubleType.get(), "a double", Literal.of(1.5d))
            .addColumn("t", Types.StringType.get(), "a text", Literal.of("it''s"))
            .addColumn("b", Types.BooleanType.get(), "a flag", Literal.of(true))
            .addColumn("m", Types.DecimalType.of(9, 2), "a decimal", Literal.of(new BigDecimal("12.34")))
            .addColumn("day", Types.DateType.get(), "a date", Literal.of("2024-02-29").to(Types.DateType.get()))
            .addColumn("ts", Types.TimestampType.withZone(), "a time", Literal.of("2024-02-29T12:00:00.000001+00:00").to(Types.TimestampType.withZone()))
            .addRequiredColumn("r", Types.IntegerType.get(), "required", Literal.of(-1))
            .addColumn("s", "inside", Types.StringType.get(), "nested", Literal.of("in"))
            .commit();
        refreshed(t);
        Schema two = t.schema();
        GenericRecord later = GenericRecord.create(two.findType("s").asStructType());
        later.set(0, 30);
        append(t, row(two, 3, later, null, null, null, null, null, null, null, null, 5));
        t.updateSchema().updateColumnDefault("i", Literal.of(8)).commit();
        refreshed(t);
        append(t, row(t.schema(), 4, null, 8, 4L, 4d, "four", false, new BigDecimal("4.00"), LocalDate.of(2024, 4, 4),
            OffsetDateTime.parse("2024-04-04T04:04:04Z"), 4));
    }

    // timestamps of nanoseconds, with and without a zone
    static void nanoseconds() throws Exception {
        Schema s = new Schema(Types.NestedField.required(1, "id", Types.IntegerType.get()),
            Types.NestedField.optional(2, "wall", Types.TimestampNanoType.withoutZone()),
            Types.NestedField.optional(3, "at", Types.TimestampNanoType.withZone()));
        Table t = create("nanoseconds", 3, s, PartitionSpec.builderFor(s).day("wall").build());
        append(t, row(s, 1, LocalDateTime.parse("2024-02-29T12:34:56.123456789"), OffsetDateTime.parse("2024-02-29T12:34:56.123456789Z")));
        append(t, row(s, 2, LocalDateTime.parse("1969-12-31T23:59:59.999999999"), OffsetDateTime.parse("1969-12-31T23:59:59.999999999Z")));
        append(t, row(s, 3, null, null));
    }

    // a geometry column and one of the unknown type, neither of which was ever written
    static void unreadable_types() throws Exception {
        Schema s = new Schema(Types.NestedField.required(1, "id", Types.IntegerType.get()));
        Table t = create("unreadable_types", 3, s, PartitionSpec.unpartitioned());
        append(t, row(s, 1), row(s, 2));
        t.updateSchema().addColumn("shape", Types.GeometryType.crs84()).addColumn("nothing", Types.UnknownType.get()).commit();
    }

    public static void main(String[] args) throws Exception {
        catalog.initialize("lake", Map.of("uri", args[0], "s3.endpoint", args[1], "s3.path-style-access", "true",
            "io-impl", "org.apache.iceberg.aws.s3.S3FileIO"));
        if (!catalog.namespaceExists(Namespace.of("java"))) catalog.createNamespace(Namespace.of("java"));
        List<String> failed = new ArrayList<>();
        for (var method : WriteJava.class.getDeclaredMethods()) {
            boolean writes = method.getReturnType() == void.class && method.getParameterCount() == 0
                && !method.getName().startsWith("lambda");
            if (!writes) continue;
            try {
                method.invoke(null);
            } catch (java.lang.reflect.InvocationTargetException error) {
                error.getCause().printStackTrace();
                failed.add(method.getName());
            }
        }
        catalog.close();
        if (!failed.isEmpty()) throw new IllegalStateException("not written: " + failed);
    }
}
