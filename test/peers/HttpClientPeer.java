import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;

/**
 * Sends requests with the HttpClient of Java, and prints a line for each.
 *
 *     java HttpClientPeer.java HTTP_1_1|HTTP_2 URL REQUEST...
 *
 * A request is "METHOD PATH BYTES", with a body of so many bytes, or "WS PATH SUBPROTOCOL...", which sends a message, prints the
 * next one, and closes.
 */
class HttpClientPeer {
  static HttpClient client;
  static String base;

  public static void main(String[] args) {
    client = HttpClient.newBuilder().version(HttpClient.Version.valueOf(args[0])).build();
    base = args[1];
    for (String request : Arrays.copyOfRange(args, 2, args.length)) {
      String answer;
      try {
        answer = request.startsWith("WS ") ? message(request.split(" ")) : response(request.split(" "));
      } catch (Exception error) {
        answer = String.valueOf(error);
      }
      System.out.println(request + ": " + answer);
    }
    System.exit(0);
  }

  static String response(String[] words) throws Exception {
    var body = words.length == 2 ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(new byte[Integer.parseInt(words[2])]);
    var response = client.send(HttpRequest.newBuilder(URI.create(base + words[1])).method(words[0], body).build(), BodyHandlers.ofString());
    return response.version() + " " + response.statusCode() + " " + response.body().strip();
  }

  static String message(String[] words) throws Exception {
    var received = new CompletableFuture<String>();
    var closed = new CompletableFuture<Integer>();
    var builder = client.newWebSocketBuilder();
    if (words.length > 2) builder.subprotocols(words[2], Arrays.copyOfRange(words, 3, words.length));
    var socket = builder.buildAsync(URI.create(base.replace("http", "ws") + words[1]), new WebSocket.Listener() {
      public CompletionStage<?> onText(WebSocket from, CharSequence text, boolean isLast) {
        received.complete(text.toString());
        from.request(1);
        return null;
      }

      public CompletionStage<?> onClose(WebSocket from, int code, String reason) {
        closed.complete(code);
        return null;
      }
    }).get(10, TimeUnit.SECONDS);
    socket.sendText("hel", false).get();
    socket.sendText("lo", true).get();
    var text = received.get(10, TimeUnit.SECONDS);
    socket.sendClose(1000, "").get();
    return "\"" + socket.getSubprotocol() + "\" " + text + " " + closed.get(10, TimeUnit.SECONDS);
  }
}
