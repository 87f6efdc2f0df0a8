using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace SafePool.TestKit;

/// <summary>Listens as a server does, and says to each client what a test has written down: refusals in anybody's words, or a handshake that goes wrong at any step.</summary>
/// <remarks>Thread-safety: every member may be called from any thread.</remarks>
public sealed class FakeServer : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, FreePort.Pick());
    private readonly CancellationTokenSource _over = new();
    private readonly ConcurrentBag<Task> _sessions = [];
    private readonly Task _accepting;
    private int _accepted;

    private FakeServer(Func<FakeSession, Task> script)
    {
        Script = script;
        _listener.Start(512);
        _accepting = AcceptAsync();
    }

    /// <summary>Gets or sets what is said to whoever connects from now on.</summary>
    public Func<FakeSession, Task> Script { get; set; }

    /// <summary>Gets the port on 127.0.0.1.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Gets how many clients have come so far.</summary>
    public int Accepted => Volatile.Read(ref _accepted);

    public static FakeServer Start(Func<FakeSession, Task> script) => new(script);

    /// <summary>Leads a connection string here, without encryption unless a test asks for it.</summary>
    public string ConnectionString(string original, SslMode encryption = SslMode.Disable) => new NpgsqlConnectionStringBuilder(original)
    {
        Host = "127.0.0.1",
        Port = Port,
        SslMode = encryption,
        GssEncryptionMode = GssEncryptionMode.Disable,
    }.ConnectionString;

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        _listener.Stop();
        await _accepting;
        await Task.WhenAll(_sessions);
        _over.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var socket = await _listener.AcceptSocketAsync(_over.Token);
                Interlocked.Increment(ref _accepted);
                _sessions.Add(Task.Run(() => ServeAsync(socket)));
            }
        }
        catch (Exception fault) when (fault is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // Over.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        using var session = new FakeSession(socket, _over.Token);
        try
        {
            await Script(session);
        }
        catch (Exception fault) when (fault is IOException or SocketException or ObjectDisposedException or OperationCanceledException or System.Security.Authentication.AuthenticationException)
        {
            // The client has gone, or the test is over.
        }
    }
}
