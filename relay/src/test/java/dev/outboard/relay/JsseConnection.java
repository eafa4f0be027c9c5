// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.List;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;
import org.jspecify.annotations.Nullable;

/**
 * A connection by the JDK's own TLS, as hosts and devices had it before OpenSSL: both must go on
 * understanding each other.
 *
 * <p>The engine is used by the reader and a writer at a time, and never while it is waited for the
 * socket.
 */
final class JsseConnection implements Connection {
  /** Several records of TLS, 16 KiB and a little each: so many cross in one system call. */
  private static final int BUFFER_BYTES = 144 * 1024;

  private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

  private final SocketChannel channel;
  private final SSLEngine engine;

  // The reader's.
  private final ByteBuffer socketIn = ByteBuffer.allocateDirect(BUFFER_BYTES);
  private final ByteBuffer cipherIn = ByteBuffer.allocate(BUFFER_BYTES);
  private final ByteBuffer plainIn = ByteBuffer.allocateDirect(BUFFER_BYTES).flip();
  private boolean over;

  // The writer's.
  private final ByteBuffer cipherOut = ByteBuffer.allocate(BUFFER_BYTES);
  private final ByteBuffer socketOut = ByteBuffer.allocateDirect(BUFFER_BYTES);
  private final ByteBuffer[] pair = {NOTHING, NOTHING};

  static {
    // Before TLS is first used: new keys after each MiB.
    Security.setProperty(
        "jdk.tls.keyLimits", "AES/GCM/NoPadding KeyUpdate 2^20, ChaCha20-Poly1305 KeyUpdate 2^20");
  }

  /** A fresh engine with TLS 1.3, which accepts who shows one of these keys. */
  static SSLEngine engine(List<PeerKey> accepted, Identity own, boolean client) throws Exception {
    return engine(accepted, own.privateKey(), List.of(own.certificate()), client);
  }

  /**
   * @param chain what it shows, whether or not it has a key for that; may be empty
   */
  static SSLEngine engine(
      List<PeerKey> accepted, byte[] privateKey, List<byte[]> chain, boolean client)
      throws Exception {
    SSLContext context = SSLContext.getInstance("TLSv1.3");
    KeyStore keys = KeyStore.getInstance("PKCS12");
    keys.load(null, null);
    List<Certificate> shown = new ArrayList<>();
    for (byte[] der : chain) {
      shown.add(
          CertificateFactory.getInstance("X.509")
              .generateCertificate(new ByteArrayInputStream(der)));
    }
    if (!shown.isEmpty()) {
      keys.setKeyEntry(
          "own",
          KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(privateKey)),
          new char[0],
          shown.toArray(Certificate[]::new));
    }
    KeyManagerFactory managers = KeyManagerFactory.getInstance("PKIX");
    managers.init(keys, new char[0]);
    context.init(managers.getKeyManagers(), new TrustManager[] {new Keys(accepted)}, null);
    SSLEngine engine = context.createSSLEngine();
    engine.setUseClientMode(client);
    SSLParameters parameters = engine.getSSLParameters();
    parameters.setProtocols(new String[] {"TLSv1.3"});
    parameters.setCipherSuites(
        new String[] {"TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"});
    parameters.setNamedGroups(new String[] {"x25519", "secp256r1"});
    if (!client) {
      parameters.setNeedClientAuth(true);
    }
    engine.setSSLParameters(parameters);
    return engine;
  }

  /** Accepts the holder of one of these keys. */
  private static final class Keys extends X509ExtendedTrustManager {
    private final List<PeerKey> accepted;

    Keys(List<PeerKey> accepted) {
      this.accepted = accepted;
    }

    private void check(X509Certificate[] chain) throws CertificateException {
      PeerKey shown = PeerKey.of(chain[0].getPublicKey().getEncoded(), "");
      if (accepted.stream().noneMatch(shown::sameKey)) {
        throw new CertificateException("the key that was shown is not known");
      }
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine)
        throws CertificateException {
      check(chain);
    }

    @Override
    public X509Certificate[] getAcceptedIssuers() {
      return new X509Certificate[0];
    }
  }

  /**
   * @param channel connected and blocking; owned by this object from here on
   * @param engine fresh
   */
  JsseConnection(SocketChannel channel, SSLEngine engine) throws IOException {
    this.channel = channel;
    this.engine = engine;
    channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
  }

  /**
   * Agrees on keys with the other end, before anything is read or written. Takes as long as the
   * other end does: the caller closes the connection when that is too long.
   *
   * @throws SSLException if one of the two ends does not accept the other, or does not speak TLS
   */
  void handshake() throws IOException {
    try {
      engine.beginHandshake();
      HandshakeStatus status = engine.getHandshakeStatus();
      while (status != HandshakeStatus.NOT_HANDSHAKING && status != HandshakeStatus.FINISHED) {
        status =
            switch (status) {
              case NEED_TASK -> runTasks();
              case NEED_WRAP -> wrap();
              default -> unwrap();
            };
      }
    } catch (SSLException e) {
      sendAlert();
      throw e;
    }
  }

  private HandshakeStatus runTasks() {
    for (Runnable task; (task = engine.getDelegatedTask()) != null; ) {
      task.run();
    }
    return engine.getHandshakeStatus();
  }

  /** Sends what the engine itself has to say. */
  private HandshakeStatus wrap() throws IOException {
    cipherOut.clear();
    SSLEngineResult result = engine.wrap(NOTHING, cipherOut);
    send();
    if (result.getStatus() == SSLEngineResult.Status.CLOSED) {
      throw new EOFException("the other side closed the connection");
    }
    return result.getHandshakeStatus();
  }

  private HandshakeStatus unwrap() throws IOException {
    cipherIn.flip();
    plainIn.clear();
    SSLEngineResult result;
    try {
      result = engine.unwrap(cipherIn, plainIn);
    } finally {
      cipherIn.compact();
      plainIn.flip();
    }
    switch (result.getStatus()) {
      case BUFFER_UNDERFLOW -> fill();
      case CLOSED -> throw new EOFException("the other side closed the connection");
      default -> {}
    }
    HandshakeStatus status = result.getHandshakeStatus();
    return status == HandshakeStatus.FINISHED ? status : engine.getHandshakeStatus();
  }

  private void fill() throws IOException {
    if (!receive()) {
      throw new EOFException("the other side closed the connection");
    }
  }

  /** Reads what comes into {@link #cipherIn}, which has room; false at the end. */
  private boolean receive() throws IOException {
    socketIn.clear().limit(cipherIn.remaining());
    if (channel.read(socketIn) < 0) {
      return false;
    }
    cipherIn.put(socketIn.flip());
    return true;
  }

  /** The other end is to know why; it may be slow or gone. */
  private void sendAlert() {
    try {
      for (int i = 0; i < 4 && engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP; i++) {
        wrap();
      }
    } catch (IOException e) {
      // It will not know, then.
    }
  }

  /**
   * Before {@link #close}, where the other end is to get what was sent last: waits until it has
   * closed the connection. The caller sees to it that this does not take long.
   */
  void drain() {
    try {
      channel.shutdownOutput();
      do {
        cipherIn.clear();
      } while (receive());
    } catch (IOException e) {
      // That is as good.
    }
  }

  @Override
  public @Nullable ByteBuffer read() throws IOException {
    if (plainIn.hasRemaining()) {
      return plainIn;
    }
    plainIn.clear();
    try {
      while (!over) {
        if (decrypt()) {
          break;
        }
        if (!over && !receive()) {
          over = true;
        }
      }
    } finally {
      plainIn.flip();
    }
    return plainIn.hasRemaining() ? plainIn : null;
  }

  /** Decrypts what is there and whole; whether that was any bytes. */
  private boolean decrypt() throws IOException {
    cipherIn.flip();
    try {
      while (cipherIn.hasRemaining()) {
        SSLEngineResult result = engine.unwrap(cipherIn, plainIn);
        if (result.getHandshakeStatus() == HandshakeStatus.NEED_TASK) {
          runTasks();
        }
        if (result.getStatus() == SSLEngineResult.Status.CLOSED) {
          over = true;
          break;
        }
        if (result.getStatus() != SSLEngineResult.Status.OK) {
          break; // not whole, or no more room
        }
        if (result.bytesConsumed() == 0 && result.bytesProduced() == 0) {
          // Nothing is read before something is said; a new key is told so. Rare enough.
          throw new SSLException("the connection has to agree on new keys first");
        }
      }
    } finally {
      cipherIn.compact();
    }
    return plainIn.position() > 0;
  }

  @Override
  public void write(ByteBuffer first, ByteBuffer second) throws IOException {
    pair[0] = first;
    pair[1] = second;
    int record = engine.getSession().getPacketBufferSize();
    do {
      cipherOut.clear();
      do {
        if (engine.wrap(pair, cipherOut).getStatus() != SSLEngineResult.Status.OK) {
          throw new EOFException("the other side closed the connection");
        }
      } while ((first.hasRemaining() || second.hasRemaining()) && cipherOut.remaining() >= record);
      send();
    } while (first.hasRemaining() || second.hasRemaining());
  }

  private void send() throws IOException {
    socketOut.clear().put(cipherOut.flip()).flip();
    while (socketOut.hasRemaining()) {
      channel.write(socketOut);
    }
  }

  /** Says that nothing more comes from this end, which goes on reading. */
  void finish() throws IOException {
    engine.closeOutbound();
    cipherOut.clear();
    engine.wrap(NOTHING, cipherOut);
    send();
  }

  @Override
  public void stopReading() {
    try {
      channel.shutdownInput();
    } catch (IOException e) {
      // Then it is over already.
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      // There is nothing else that one could do to it.
    }
  }
}
