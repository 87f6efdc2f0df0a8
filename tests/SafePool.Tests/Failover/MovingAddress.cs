using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace SafePool.Tests.Failover;

/// <summary>A name whose target changes: new connections go to the new one, those that are open stay where they are.</summary>
internal sealed class MovingAddress : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _closing = new();
    private volatile int _target;
    private int _accepted;

    private MovingAddress(int target) => _target = target;

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Gets how many connections were ever accepted.</summary>
    public int Accepted => Volatile.Read(ref _accepted);

    /// <summary>Gets or sets the port on this machine that it leads to.</summary>
    public int Target
    {
        get => _target;
        set => _target = value;
    }

    public static MovingAddress To(int target)
    {
        var address = new MovingAddress(target);
        address._listener.Start();
        _ = address.AcceptAsync();
        return address;
    }

    public string ConnectionString(string original) => new NpgsqlConnectionStringBuilder(original) { Host = "127.0.0.1", Port = Port }.ConnectionString;

    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync();
        _listener.Stop();
        _closing.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync(_closing.Token);
                Interlocked.Increment(ref _accepted);
                _ = ForwardAsync(client, _target, _closing.Token);
            }
        }
        catch (Exception end) when (end is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Closed.
        }
    }

    private static async Task ForwardAsync(TcpClient client, int target, CancellationToken closing)
    {
        using var server = new TcpClient { NoDelay = true };
        using (client)
        {
            client.NoDelay = true;
            try
            {
                await server.ConnectAsync(IPAddress.Loopback, target, closing);
                var (left, right) = (client.GetStream(), server.GetStream());
                await Task.WhenAny(left.CopyToAsync(right, closing), right.CopyToAsync(left, closing));
            }
            catch (Exception end) when (end is OperationCanceledException or SocketException or IOException)
            {
                // One of the two has gone.
            }
        }
    }
}
