using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace SafePool.TestKit;

/// <summary>One name for several servers: a balancer that leads each new connection to the next of its targets, or an address that moves when the targets change.</summary>
/// <remarks>Thread-safety: every member may be called from any thread. Connections that are open stay where they are.</remarks>
public sealed class SwitchedForwarder : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _ended = new();
    private readonly Task _accepting;
    private volatile int[] _targets;
    private int _turn = -1;

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
        await _ended.CancelAsync();
        _listener.Stop();
        await _accepting;
        _ended.Dispose();
    }

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

    private async Task PassAsync(TcpClient client)
    {
        var targets = _targets;
        var target = targets[(int)((uint)Interlocked.Increment(ref _turn) % (uint)targets.Length)];
        using var server = new TcpClient { NoDelay = true };
        using (client)
        {
            client.NoDelay = true;
            try
            {
                await server.ConnectAsync(IPAddress.Loopback, target, _ended.Token);
                await Task.WhenAny(PumpAsync(client, server), PumpAsync(server, client));
            }
            catch (Exception end) when (end is OperationCanceledException or SocketException)
            {
                // Nobody is there, or it is over.
            }
        }
    }

    /// <summary>Never fails.</summary>
    private async Task PumpAsync(TcpClient from, TcpClient to)
    {
        try
        {
            await from.GetStream().CopyToAsync(to.GetStream(), _ended.Token);
        }
        catch (Exception end) when (end is OperationCanceledException or IOException or ObjectDisposedException or InvalidOperationException)
        {
            // One end closed: both are.
        }
    }
}
