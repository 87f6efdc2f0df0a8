using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace SafePool.TestKit;

/// <summary>One client and its server, and the bytes between them.</summary>
internal sealed class ProxiedConnection(Socket client, EndPoint serverAddress, ProxyTraffic traffic) : IDisposable
{
    // Of Linux: getsockopt(IPPROTO_TCP, TCP_INFO) begins with the state of the connection.
    private const int IpProtoTcp = 6;
    private const int TcpInfo = 11;
    private const byte TcpEstablished = 1;

    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _ended = new();
    private readonly StartupReader _startup = new();
    private readonly ReadyReader _ready = new();
    private readonly Socket _server = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private StartupKind _countedAs;
    private string _application = "";
    private volatile bool _isSwallowed;
    private bool _isOver;

    /// <summary>Gets a task that ends, and never fails, once both sockets are closed.</summary>
    public Task Completion { get; private set; } = Task.CompletedTask;

    /// <summary>Gets or sets when it was counted, as a timestamp of <see cref="TimeProvider.System"/>. Guarded by the traffic's lock.</summary>
    public long CountedAt { get; set; }

    /// <summary>Gets whether the client still has its socket open, which the kernel knows before the proxy has read the end.</summary>
    public bool IsClientThere
    {
        get
        {
            Span<byte> info = stackalloc byte[8];
            try
            {
                client.GetRawSocketOption(IpProtoTcp, TcpInfo, info);
                return info[0] == TcpEstablished;
            }
            catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
            {
                return false;
            }
        }
    }

    /// <summary>Gets the port from which it has reached the server; null before it has, and once it is over.</summary>
    public int? PortAtServer
    {
        get
        {
            try
            {
                return (_server.LocalEndPoint as IPEndPoint)?.Port;
            }
            catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
            {
                return null;
            }
        }
    }

    /// <summary>From now on nothing passes, also no end.</summary>
    public void Swallow() => _isSwallowed = true;

    /// <summary>Says in words which connection it is.</summary>
    /// <param name="now">A timestamp of <see cref="TimeProvider.System"/>.</param>
    public string Describe(long now)
        => string.Create(
            CultureInfo.InvariantCulture,
            $"'{_application}', {TimeProvider.System.GetElapsedTime(CountedAt, now).TotalMilliseconds:0} ms old, {(_ready.IsReady ? "ready" : "connecting")}");

    public void Start(Action whenOver) => Completion = RunAsync(whenOver);

    /// <summary>Closes both sockets. Only the first call decides how.</summary>
    public void End(ConnectionEnd how)
    {
        lock (_gate)
        {
            if (_isOver)
            {
                return;
            }

            _isOver = true;
            if (_countedAs == StartupKind.Startup)
            {
                traffic.CountClosed(this, _ready.IsReady);
            }
        }

        Close(client, how);
        Close(_server, how);
        _ended.Cancel();
    }

    public void Dispose() => End(ConnectionEnd.Reset);

    private static void Close(Socket socket, ConnectionEnd how)
    {
        try
        {
            if (how == ConnectionEnd.Reset)
            {
                socket.LingerState = new LingerOption(true, 0);
            }
            else if (socket.Connected)
            {
                socket.Shutdown(SocketShutdown.Both);
            }
        }
        catch (SocketException)
        {
            // The other end was faster.
        }

        socket.Dispose();
    }

    private async Task RunAsync(Action whenOver)
    {
        var how = ConnectionEnd.Reset;
        try
        {
            await Task.Yield();
            client.NoDelay = true;
            await ForwardAsync();
            how = ConnectionEnd.Finish;
        }
        catch (Exception fault) when (fault is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // One end broke, the server is not there, or a test ended the connection: break the other end too.
        }

        End(how);
        whenOver();
    }

    private async Task ForwardAsync()
    {
        var buffer = new byte[32 * 1024];
        var first = await ReceiveAsync(client, buffer);
        if (first == 0)
        {
            return;
        }

        LookAtClient(buffer.AsSpan(0, first));
        if (traffic.AcceptDelay is { Ticks: > 0 } delay)
        {
            await Task.Delay(delay, TimeProvider.System, _ended.Token);
        }

        await traffic.PassAsync(_ended.Token);
        if (traffic.IsSilent)
        {
            await SwallowAsync(buffer);
            return;
        }

        await _server.ConnectAsync(serverAddress, _ended.Token);
        await SendAsync(_server, buffer.AsMemory(0, first));

        // Whichever end finishes first, everything it sent has been passed on by then.
        var fromClient = PumpAsync(client, _server, buffer, LookAtClient);
        var fromServer = PumpAsync(_server, client, new byte[32 * 1024], LookAtServer, new CutMeter(traffic));
        var finished = await Task.WhenAny(fromClient, fromServer);
        End(finished.IsCompletedSuccessfully ? ConnectionEnd.Finish : ConnectionEnd.Reset);
        await Task.WhenAll(fromClient, fromServer);
    }

    /// <summary>Answers nothing for as long as the client has patience.</summary>
    private async Task SwallowAsync(byte[] buffer)
    {
        while (await ReceiveAsync(client, buffer) > 0)
        {
        }
    }

    private async Task PumpAsync(Socket from, Socket to, byte[] buffer, Action<ReadOnlySpan<byte>> look, CutMeter? meter = null)
    {
        while (true)
        {
            var count = await ReceiveAsync(from, buffer);
            await traffic.PassAsync(_ended.Token);
            if (_isSwallowed)
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, _ended.Token);
            }

            if (count == 0)
            {
                return;
            }

            ConnectionEnd? end = null;
            var allowed = meter?.Allow(count, out end) ?? count;
            look(buffer.AsSpan(0, allowed));
            await SendAsync(to, buffer.AsMemory(0, allowed));
            if (end is { } how)
            {
                End(how);
                return;
            }
        }
    }

    private void LookAtClient(ReadOnlySpan<byte> bytes)
    {
        lock (_gate)
        {
            _startup.Read(bytes);
            if (!_isOver && _startup.Kind != StartupKind.Unknown)
            {
                _application = _startup.Kind == StartupKind.Startup && _application.Length == 0 ? StartupReader.ApplicationIn(bytes) : _application;
                CountLocked(_startup.Kind == StartupKind.CancelRequest ? StartupKind.CancelRequest : StartupKind.Startup);
            }
        }
    }

    private void CountLocked(StartupKind kind)
    {
        switch (_countedAs, kind)
        {
            case (StartupKind.Unknown, StartupKind.Startup):
                traffic.CountOpened(this);
                break;
            case (StartupKind.Unknown, StartupKind.CancelRequest):
                traffic.CountCancelRequest();
                break;
            case (StartupKind.Startup, StartupKind.CancelRequest):
                traffic.RecountAsCancelRequest(this);
                break;
        }

        _countedAs = kind;
    }

    // Before the bytes go out: a client that knows it is ready must not still count as connecting.
    private void LookAtServer(ReadOnlySpan<byte> bytes)
    {
        lock (_gate)
        {
            if (_ready.IsReady || _isOver)
            {
                return;
            }

            _ready.Read(bytes, _startup.EncryptionRequests);
            if (_ready.IsReady && _countedAs == StartupKind.Startup)
            {
                traffic.CountReady();
            }
        }
    }

    private async Task<int> ReceiveAsync(Socket from, Memory<byte> buffer) => await from.ReceiveAsync(buffer, _ended.Token);

    private async Task SendAsync(Socket to, ReadOnlyMemory<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            bytes = bytes[await to.SendAsync(bytes, _ended.Token)..];
        }
    }
}
