using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace SafePool.TestKit;

/// <summary>Stands between clients and a server on loopback, counts connections and breaks them in every way a network does.</summary>
/// <remarks>
/// <para>Thread-safety: every member may be called from any thread.</para>
/// <para>A connection counts from its first bytes on, which tell what it is: cancel requests are counted apart.</para>
/// </remarks>
public sealed class TcpProxy : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private volatile EndPoint _server;
    private readonly ProxyTraffic _traffic;
    private readonly ConcurrentDictionary<ProxiedConnection, byte> _connections = new();
    private Socket? _listener;
    private bool _disposed;

    private TcpProxy(string host, int port, ProxyTraffic traffic)
    {
        _traffic = traffic;
        _server = Of(host, port);
        Port = FreePort.Pick();
        Listen();
    }

    /// <summary>Moves the address: who connects from now on reaches another server. What is open stays where it is.</summary>
    /// <param name="connectionString">Of that server.</param>
    public void LeadTo(string connectionString)
    {
        var server = new NpgsqlConnectionStringBuilder(connectionString);
        _server = Of(server.Host!, server.Port);
    }

    /// <summary>Gets the port on 127.0.0.1 that stands for the server.</summary>
    public int Port { get; }

    /// <summary>Gets how many connections are open at this moment.</summary>
    public int OpenConnections => _traffic.Open;

    /// <summary>Gets the most that were ever open at once.</summary>
    public int PeakConnections => _traffic.PeakOpen;

    /// <summary>Gets which they were: the application that each named, its age, and whether the server had let it in.</summary>
    public IReadOnlyList<string> ConnectionsAtPeak => _traffic.AtPeak;

    /// <summary>Gets how many were opened so far.</summary>
    public int TotalAccepted => _traffic.Total;

    /// <summary>Gets when each of those asked for its session, as timestamps of <see cref="TimeProvider.System"/>, in order.</summary>
    /// <remarks>Those that never reached a server are among them; cancel requests are not.</remarks>
    public IReadOnlyList<long> OpenedAt => _traffic.OpenedAt;

    /// <summary>Gets how many are open that the server has not yet declared ready for a query.</summary>
    public int Connecting => _traffic.Connecting;

    /// <summary>Gets the most that were ever connecting at once.</summary>
    public int PeakConnecting => _traffic.PeakConnecting;

    /// <summary>Gets how many connections carried a request to cancel another's command.</summary>
    public int CancelRequests => _traffic.CancelRequests;

    /// <summary>Gets or sets how much later each chunk of bytes arrives, in each direction. Default: zero.</summary>
    public TimeSpan Delay
    {
        get => _traffic.Delay;
        set => _traffic.Delay = value;
    }

    /// <summary>Gets or sets how long a client, once accepted, waits before the server hears of it. Default: zero.</summary>
    public TimeSpan AcceptDelay
    {
        get => _traffic.AcceptDelay;
        set => _traffic.AcceptDelay = value;
    }

    /// <summary>Gets or sets whether new clients find nobody listening. Open connections stay.</summary>
    public bool RefuseNew
    {
        get
        {
            lock (_gate)
            {
                return _listener is null;
            }
        }

        set
        {
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                if (value)
                {
                    StopListeningLocked();
                }
                else if (_listener is null)
                {
                    Listen();
                }
            }
        }
    }

    /// <summary>Gets or sets whether new clients are accepted and then never hear anything, also not after this is switched off. Open connections go on.</summary>
    public bool SilenceNew
    {
        get => _traffic.IsSilent;
        set => _traffic.IsSilent = value;
    }

    /// <summary>Opens a proxy in front of the server of a connection string.</summary>
    /// <param name="connectionString">Of the server.</param>
    /// <param name="countedWith">Another proxy: the two count their connections together, stall together and resume together.</param>
    public static TcpProxy Start(string connectionString, TcpProxy? countedWith = null)
    {
        var server = new NpgsqlConnectionStringBuilder(connectionString);
        return server.Host is { Length: > 0 } host && host[0] != '/' && !host.Contains(',', StringComparison.Ordinal)
            ? new TcpProxy(host, server.Port, countedWith?._traffic ?? new ProxyTraffic())
            : throw new ArgumentException("The proxy needs one host, reached over TCP.", nameof(connectionString));
    }

    /// <summary>Leads a connection string through this proxy.</summary>
    /// <remarks>Without encryption, so that the first bytes of a connection tell whether it is a cancel request.</remarks>
    public string ConnectionString(string original) => new NpgsqlConnectionStringBuilder(original)
    {
        Host = "127.0.0.1",
        Port = Port,
        SslMode = SslMode.Disable,
        GssEncryptionMode = GssEncryptionMode.Disable,
    }.ConnectionString;

    /// <summary>Counts peaks anew, from what is open at this moment.</summary>
    public void ForgetPeaks() => _traffic.ForgetPeaks();

    /// <summary>Swallows the network: connections stay open, new ones are accepted, and no byte and no end passes.</summary>
    public void Stall() => _traffic.Stall();

    /// <summary>Swallows one connection for good, as a firewall that has forgotten it: it stays open, and no byte and no end passes.</summary>
    /// <param name="clientPort">Its port as the server sees it: <c>pg_stat_activity.client_port</c>.</param>
    /// <returns>Whether there is such a one.</returns>
    public bool Swallow(int clientPort)
    {
        var found = _connections.Keys.FirstOrDefault(connection => connection.PortAtServer == clientPort);
        found?.Swallow();
        return found is not null;
    }

    /// <summary>Lets pass what has piled up since <see cref="Stall"/>, and all that follows.</summary>
    public void Resume() => _traffic.Resume();

    /// <summary>Breaks all open connections as a router that forgot them: RST to both ends.</summary>
    public void ResetAll() => EndAll(ConnectionEnd.Reset);

    /// <summary>Ends all open connections politely: FIN to both ends.</summary>
    public void CloseAll() => EndAll(ConnectionEnd.Finish);

    /// <summary>Breaks one open connection, drawn by lot, with RST to both ends. False when none is open.</summary>
    public bool ResetOne(Random random) => EndOne(ConnectionEnd.Reset, random);

    /// <summary>Ends one open connection, drawn by lot, with FIN to both ends. False when none is open.</summary>
    public bool CloseOne(Random random) => EndOne(ConnectionEnd.Finish, random);

    /// <summary>Ends every connection as soon as its server has sent so many more bytes: what is open counts from now, what comes from its first byte.</summary>
    /// <param name="bytes">Exactly so many pass, wherever in a message that is. The next piece from the server ends it when this is zero.</param>
    /// <param name="politely">FIN, so that these bytes arrive; otherwise RST, which may take the last of them along.</param>
    public void CutAfter(int bytes, bool politely = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        _traffic.Cut = new CutRule(bytes, politely ? ConnectionEnd.Finish : ConnectionEnd.Reset);
    }

    /// <summary>Ends nothing any more by the number of its bytes.</summary>
    public void CutNothing() => _traffic.Cut = null;

    /// <summary>Stops listening and resets what is open.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            _disposed = true;
            StopListeningLocked();
        }

        Resume();
        var running = _connections.Keys.Select(connection => connection.Completion).ToArray();
        ResetAll();
        await Task.WhenAll(running);
    }

    private static EndPoint Of(string host, int port)
        => IPAddress.TryParse(host, out var address) ? new IPEndPoint(address, port) : new DnsEndPoint(host, port);

    private void Listen()
    {
        _listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, Port));
        _listener.Listen(512);
        _ = AcceptAsync(_listener);
    }

    private void StopListeningLocked()
    {
        // At once, although a process that is being started beside this may hold a copy of the socket until it runs.
        _listener?.Shutdown(SocketShutdown.Both);
        _listener?.Dispose();
        _listener = null;
    }

    private async Task AcceptAsync(Socket listener)
    {
        try
        {
            while (true)
            {
                Add(await listener.AcceptAsync());
            }
        }
        catch (Exception fault) when (fault is SocketException or ObjectDisposedException)
        {
            // The listener was closed, by RefuseNew or for good.
        }
    }

    private void Add(Socket client)
    {
        var connection = new ProxiedConnection(client, _server, _traffic);
        _connections.TryAdd(connection, 0);
        connection.Start(() => _connections.TryRemove(connection, out _));
    }

    private bool EndOne(ConnectionEnd how, Random random)
    {
        ArgumentNullException.ThrowIfNull(random);

        var open = _connections.Keys.ToArray();
#pragma warning disable CA5394 // A seeded draw is the point.
        var drawn = open.Length == 0 ? null : open[random.Next(open.Length)];
#pragma warning restore CA5394
        drawn?.End(how);
        return drawn is not null;
    }

    private void EndAll(ConnectionEnd how)
    {
        foreach (var connection in _connections.Keys)
        {
            connection.End(how);
        }
    }
}
