// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class PathSetTest {
  private final PathSet set = PathSet.of(List.of("/srv/www", "/data/*/pub?", "/var/é"));

  private int match(String path) {
    byte[] bytes = path.getBytes(StandardCharsets.UTF_8);
    return set.match(bytes, bytes.length);
  }

  private boolean mayLead(String path) {
    byte[] bytes = path.getBytes(StandardCharsets.UTF_8);
    return set.mayLead(bytes, bytes.length);
  }

  @Test
  void aPathAndAllBelowAreTheDevices() {
    assertThat(match("/srv/www")).isEqualTo(8);
    assertThat(match("/srv/www/index.html")).isEqualTo(8);
    assertThat(match("/proc/net/dev")).isEqualTo(9);
    assertThat(match("/proc/sys/net")).isEqualTo(13);
    assertThat(match("/dev/net/tun")).isEqualTo(12);
    assertThat(match("/var/é/x")).isEqualTo(7);
    for (String path :
        List.of("/", "/srv", "/srv/ww", "/srv/www2", "/srv/wwwx/y", "/x/srv/www", "srv/www", "")) {
      assertThat(match(path)).as(path).isEqualTo(-1);
    }
  }

  @Test
  void starsAndQuestionMarksStayWithinAName() {
    assertThat(match("/data/a/pub1/x")).isEqualTo(12);
    assertThat(match("/data//pub1")).isEqualTo(8 + 3);
    assertThat(match("/data/a/b/pub1")).isEqualTo(-1);
    assertThat(match("/data/a/pub")).isEqualTo(-1);
    assertThat(match("/data/a/pub12")).isEqualTo(-1);
    byte[] path = "/aXbXbYc/z".getBytes(StandardCharsets.UTF_8);
    assertThat(PathSet.of(List.of("/a*b*c")).match(path, path.length)).isEqualTo(8);
  }

  @Test
  void aRelativePathMayLeadThereIfItHasALastName() {
    assertThat(mayLead("www")).isTrue();
    assertThat(mayLead("../srv/www/x")).isTrue();
    assertThat(mayLead("net/dev")).isTrue();
    assertThat(mayLead("a/pub7")).isTrue();
    assertThat(mayLead("")).isFalse();
    assertThat(mayLead("srv/www2/nets")).isFalse();
  }

  private static boolean climbs(String path) {
    byte[] bytes = path.getBytes(StandardCharsets.UTF_8);
    return PathSet.climbs(bytes, bytes.length);
  }

  @Test
  void climbing() {
    for (String path : List.of("..", "../a", "a/..", "/a/../b")) {
      assertThat(climbs(path)).as(path).isTrue();
    }
    for (String path : List.of("", ".", "...", "a..", "..a", "/a/..b/c.", "a./b")) {
      assertThat(climbs(path)).as(path).isFalse();
    }
  }
}
