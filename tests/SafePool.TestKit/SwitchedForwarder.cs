using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace SafePool.TestKit;

/// <summary>One name for several servers: a balancer that leads each new connection to the next of its targets, or an address that moves when the targets change.</summary>
/// <remarks>Thread-safety: every member may be called from any thread. Connections that are open stay where they are.</remarks>
public class SwitchedForwarder : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _ended = new();
    private readonly Task _accepting;
    private volatile int[] _targets;
    private int _turn = -1;
    private int _accepted;
    private int _cut;

    /// <summary>Begins to listen.</summary>
    /// <param name="targets">Ports on 127.0.0.1, taken in turn.</param>
    public SwitchedForwarder(params int[] targets)
    {
        _targets = targets;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>Gets the port on 127.0.0.1 that stands for all of them.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Gets how many connections were ever accepted.</summary>
    public int Accepted => Volatile.Read(ref _accepted);

    /// <summary>Gets how many connections were ended because they were idle.</summary>
    public int Cut => Volatile.Read(ref _cut);

    /// <summary>Gets for how long a connection may be idle before it is ended, as balancers do. Default: for ever.</summary>
    public TimeSpan IdleLimit { get; init; } = Timeout.InfiniteTimeSpan;

    /// <summary>Leads new connections elsewhere, the next to the first of these.</summary>
    public void LeadTo(params int[] targets)
    {
        Volatile.Write(ref _turn, -1);
        _targets = targets;
    }

    /// <summary>Leads a connection string through it.</summary>
    public string ConnectionString(string original)
        => new NpgsqlConnectionStringBuilder(original) { Host = "127.0.0.1", Port = Port, SslMode = SslMode.Disable, GssEncryptionMode = GssEncryptionMode.Disable }.ConnectionString;

    /// <summary>Ends it, and all connections through it.</summary>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await _ended.CancelAsync();
        _listener.Stop();
        await _accepting;
        _ended.Dispose();
    }

    /// <summary>Before any byte passes: may read what the client says first, and answer, or say something else to the server.</summary>
    /// <returns>False when the connection is to be ended.</returns>
    protected virtual Task<bool> TryBeginAsync(Stream client, Stream server, CancellationToken cancellationToken) => Task.FromResult(true);

    private async Task AcceptAsync()
    {
        var passing = new List<Task>();
        try
        {
            while (true)
            {
                passing.Add(PassAsync(await _listener.AcceptTcpClientAsync(_ended.Token)));
            }
        }
        catch (Exception end) when (end is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // It is over.
        }

        await Task.WhenAll(passing);
    }

    /// <summary>Never fails.</summary>
    private async Task PassAsync(TcpClient client)
    {
        Interlocked.Increment(ref _accepted);
        var targets = _targets;
        var target = targets[(int)((uint)Interlocked.Increment(ref _turn) % (uint)targets.Length)];
        using var server = new TcpClient { NoDelay = true };
        using (client)
        {
            client.NoDelay = true;
            try
            {
                await server.ConnectAsync(IPAddress.Loopback, target, _ended.Token);
                var (left, right) = (client.GetStream(), server.GetStream());
                if (await TryBeginAsync(left, right, _ended.Token))
                {
                    var passed = new Passed();
                    await Task.WhenAny(PumpAsync(left, right, passed), PumpAsync(right, left, passed), OutlastAsync(passed));
                }
            }
            catch (Exception end) when (end is OperationCanceledException or IOException or SocketException)
            {
                // Nobody is there, or it is over.
            }
        }
    }

    /// <summary>Never fails.</summary>
    private async Task PumpAsync(NetworkStream from, NetworkStream to, Passed passed)
    {
        var buffer = new byte[16 * 1024];
        try
        {
            while (await from.ReadAsync(buffer, _ended.Token) is > 0 and var count)
            {
                passed.Note();
                await to.WriteAsync(buffer.AsMemory(0, count), _ended.Token);
            }
        }
        catch (Exception end) when (end is OperationCanceledException or IOException or ObjectDisposedException or InvalidOperationException)
        {
            // One end closed: both are.
        }
    }

    /// <summary>Ends when nothing has passed for as long as a connection may be idle.</summary>
    private async Task OutlastAsync(Passed passed)
    {
        var left = IdleLimit;
        while (left == Timeout.InfiniteTimeSpan || left > TimeSpan.Zero)
        {
            await Task.Delay(left, TimeProvider.System, _ended.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (_ended.IsCancellationRequested)
            {
                return;
            }

            left = IdleLimit - passed.Since;
        }

        Interlocked.Increment(ref _cut);
    }

    /// <summary>When something has passed last.</summary>
    private sealed class Passed
    {
        private long _at = TimeProvider.System.GetTimestamp();

        public TimeSpan Since => TimeProvider.System.GetElapsedTime(Volatile.Read(ref _at));

        public void Note() => Volatile.Write(ref _at, TimeProvider.System.GetTimestamp());
    }
}
