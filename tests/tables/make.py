"""Writes all tables again, and what is expected of them."""

import os
import subprocess

import pyspark

import expect
import stage
import write_duckdb
import write_pyiceberg
import write_spark


def write_java():
    """Runs the Java writer on the jars that Spark has."""
    jars = [*map(str, stage.jars("spark")), f"{os.path.dirname(pyspark.__file__)}/jars/*"]
    command = ["java", "-cp", os.pathsep.join(jars), str(stage.HERE / "WriteJava.java"), stage.REST, stage.S3]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    with stage.running():
        spark = write_spark.main()
        write_java()
        write_pyiceberg.main()
        write_duckdb.main()
        for writer in ("spark", "java", "pyiceberg", "duckdb"):
            stage.save(writer)
        expect.main(spark)
        spark.stop()
