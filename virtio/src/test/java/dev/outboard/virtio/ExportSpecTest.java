// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ExportSpecTest {
  @Test
  void saysWhatAndWhere() {
    assertThat(ExportSpec.directory("/srv/www"))
        .isEqualTo(new ExportSpec(false, Path.of("/srv/www"), "/srv/www", false));
    assertThat(ExportSpec.directory("/srv/www/:/a/./b/../c/:ro"))
        .isEqualTo(new ExportSpec(false, Path.of("/srv/www"), "/a/c", true));
    assertThat(ExportSpec.disk("/x.img:ro"))
        .isEqualTo(new ExportSpec(true, Path.of("/x.img"), "/x.img", true));
    assertThat(ExportSpec.directory("here:/there").source())
        .isEqualTo(Path.of("here").toAbsolutePath());
  }

  @ParameterizedTest
  @CsvSource({
    "'',names nothing",
    ":/x,names nothing",
    ":ro,names nothing",
    "/a:b,must be an absolute path",
    "/a:,must be an absolute path",
    "/a:/b:rw,no control character",
    "/a:/..,only below",
    "/:ro,only below",
    "/a:/proc/x,/proc is the device's kernel's own",
    "/a:/sys,/sys is the device's kernel's own",
    "/dev,/dev is the device's kernel's own",
    "/a:/b*,no control character",
  })
  void refusesWhatMakesNoSense(String text, String why) {
    assertThatThrownBy(() -> ExportSpec.directory(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(why);
  }
}
