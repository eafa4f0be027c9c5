// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import org.junit.jupiter.api.Tag;

/** Stock databases and caches under their own clients and benchmarks. */
@Tag("judges")
class DatabasesTest {
  private static final Duration LIMIT = Duration.ofMinutes(6);

  private static String output(Trial trial, String script) {
    Finished done = trial.shell(script).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
    return done.output();
  }

  @Scenario(trace = false)
  void postgresOverTcp(Trial trial) {
    // Debian has a directory for each version's programs.
    if (trial.machine("sh", "-c", "ls /usr/lib/postgresql/*/bin/pgbench").run(LIMIT).status()
        != 0) {
      Programs.require("postgres");
    }
    String output =
        output(
            trial,
            """
            cat >script <<'END'
            cd data
            initdb -D . -U judge -A trust -E UTF8 --locale C -N >../tmp/log 2>&1; echo "initdb $?"
            cat >>postgresql.conf <<CONF
            listen_addresses = '127.0.0.1'
            port = %1$d
            unix_socket_directories = ''
            fsync = off
            CONF
            pg_ctl -D . -l log.txt -w -t 60 start >/dev/null; echo "start $?"
            export PGHOST=127.0.0.1 PGPORT=%1$d PGUSER=judge PGDATABASE=postgres
            pgbench -i -s 2 -q >../tmp/log 2>&1; echo "tables $?"
            pgbench -c 20 -j 2 -t 20 -n >../tmp/log 2>&1; echo "pgbench $?"
            grep -e actually -e failed ../tmp/log
            pgbench -c 20 -j 2 -t 20 -n -C -M prepared -S >../tmp/log 2>&1; echo "with new connections $?"
            grep -e actually -e failed ../tmp/log
            psql -Atc 'select count(*) from pgbench_history'
            psql -Atc 'select sum(abalance) = (select sum(delta) from pgbench_history) from pgbench_accounts'
            psql -Atc "copy (select repeat('x', 100), g from generate_series(1, 100000) g) to stdout" >../tmp/rows
            md5sum <../tmp/rows
            psql -Atc 'create table copied (x text, g int)'; psql -Atc '\\copy copied from ../tmp/rows'
            psql -Atc 'select count(*), sum(g) from copied'
            (sleep 0.5; echo "notify news, 'hello'" | psql -q) &
            printf "listen news;\\nselect pg_sleep(2);\\n;\\n" | psql -At | sed 's/PID .*//'
            # What ends a client ends what its server does for it: a query to cancel comes by a second connection.
            # One signal: without --foreground timeout sends it to its group as well, and psql may get two.
            timeout --foreground -s INT 2 psql -Atc 'select pg_sleep(60)' 2>&1; echo "interrupted $?"
            pg_ctl -D . -m fast -w stop >/dev/null; echo "stop $?"
            rm -f ../tmp/log ../tmp/rows
            END
            mkdir data; chmod 700 data
            PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH
            if [ $(id -u) = 0 ]; then
              chown postgres data
              exec setpriv --reuid=postgres --regid=postgres --clear-groups sh script
            fi
            exec sh script
            """
                .formatted(trial.port()));
    assertThat(output).contains("processed: 400/400", "\n400\nt\n", "interrupted", "stop 0");
  }

  @Scenario(trace = false)
  void memcachedByAllItsProtocols(Trial trial) {
    Programs.require("memcached", "memcping", "memccp", "memccat", "memcslap");
    output(
        trial,
        """
        port=%1$d servers=--servers=127.0.0.1:%1$d
        memcached -u $(id -un) -l 127.0.0.1 -p $port -U $port -t 4 -m 64 >log 2>&1 & server=$!
        until ss -Htln | grep -q :$port; do sleep 0.05; done
        memcping $servers; echo "ping $?"
        seq 1 5000 >file
        memccp $servers file; echo "copied $?"
        memccat $servers --file=back file; cmp back file; echo "read $?"
        memccat --binary $servers --file=back2 file; cmp back2 file; echo "read, binary $?"
        python3 %2$s $port
        memcstat $servers | grep -e threads -e cmd_set
        memcslap $servers --concurrency=8 --execute-number=100 --test=set >log2; echo "slap $?"
        memcslap $servers --concurrency=8 --execute-number=100 --binary --non-blocking --test=set >log3
        echo "slap, binary $?"
        memcrm $servers file; memcexist $servers file; echo "exists $?"
        kill $server; wait $server; echo "memcached $?"
        """
            .formatted(trial.port(), Programs.python("memcached_clients")));
  }

  /** redis-benchmark has a name for each; those that it has no name for are given as commands. */
  @Scenario(trace = false)
  void redisWithEachDataType(Trial trial) {
    String output =
        output(
            trial,
            """
            p="-p %1$d"
            redis-server --port %1$d --bind 127.0.0.1 --save '' --appendonly no --dir $PWD >log 2>&1 & server=$!
            until redis-cli $p ping 2>/dev/null | grep -q PONG; do sleep 0.05; done
            redis-benchmark $p -n 500 -c 20 -q --csv >table 2>&1; echo "benchmark $?"; cut -d, -f1 table
            redis-benchmark $p -n 500 -c 20 -q -P 16 -d 10000 -t set,get,lpush --csv | cut -d, -f1
            for command in 'xadd stream * a b' 'pfadd log __rand_int__' 'setbit bits 7 1' \
                'geoadd places 13.36 38.11 Palermo' 'incrbyfloat float 0.5' 'publish channel message'; do
              set -f; redis-benchmark $p -n 200 -q --csv $command | cut -d, -f1
            done
            redis-benchmark $p -n 200 -q --csv eval 'return redis.call("incr","k")' 0 | cut -d, -f1
            redis-cli $p xlen stream; redis-cli $p get k; redis-cli $p getbit bits 7
            redis-cli $p pfcount log >/dev/null; redis-cli $p geohash places Palermo
            redis-cli $p shutdown nosave; wait $server; echo "redis $?"
            """
                .formatted(trial.port()));
    assertThat(output).doesNotContainIgnoringCase("error").contains("ZPOPMIN", "SPOP", "MSET");
  }
}
