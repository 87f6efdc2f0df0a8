using System.Net;
using System.Net.Sockets;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

/// <summary>The faults that need no database to be seen: an echo server stands behind the proxy.</summary>
public sealed class TcpProxyFaultTests : IAsyncLifetime
{
    // Begins like a StartupMessage of protocol 3.0, so that the proxy counts the connection.
    private static readonly byte[] _hello = [0, 0, 0, 8, 0, 3, 0, 0, 1, 2, 3, 4];

    private readonly TcpListener _echo = new(IPAddress.Loopback, 0);
    private TcpProxy _proxy = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        _echo.Start();
        _ = EchoAsync();
        _proxy = TcpProxy.Start($"Host=127.0.0.1;Port={((IPEndPoint)_echo.LocalEndpoint).Port}");
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _proxy.DisposeAsync();
        _echo.Dispose();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(11)]
    [InlineData(12)]
    public async Task CutAfter_Politely_PassesExactlySoManyBytesAndThenEnds(int bytes)
    {
        _proxy.CutAfter(bytes, politely: true);
        using var client = await ConnectAsync();

        await client.SendAsync(_hello, Cancellation);

        Assert.Equal(_hello[..bytes], await ReadToEndAsync(client));
        await Eventually.True(() => _proxy.OpenConnections == 0, "it is counted no more");
    }

    [Fact]
    public async Task CutAfter_WhileConnected_CountsFromThen()
    {
        using var client = await ConnectAsync();
        await client.SendAsync(_hello, Cancellation);
        await ReadAsync(client, _hello.Length);

        _proxy.CutAfter(3, politely: true);
        await client.SendAsync(_hello, Cancellation);

        Assert.Equal(_hello[..3], await ReadToEndAsync(client));
    }

    [Fact]
    public async Task CutAfter_Impolitely_Resets()
    {
        _proxy.CutAfter(0);
        using var client = await ConnectAsync();

        await client.SendAsync(_hello, Cancellation);

        var fault = await Assert.ThrowsAsync<SocketException>(() => ReadToEndAsync(client));
        Assert.Equal(SocketError.ConnectionReset, fault.SocketErrorCode);
    }

    [Fact]
    public async Task CutNothing_AfterARule_LetsEverythingPass()
    {
        _proxy.CutAfter(1);
        _proxy.CutNothing();
        using var client = await ConnectAsync();

        await client.SendAsync(_hello, Cancellation);

        await ReadAsync(client, _hello.Length);
    }

    [Fact]
    public async Task SilenceNew_OldClient_GoesOnWhileTheNewOneHearsNothing()
    {
        using var old = await ConnectAsync();
        await old.SendAsync(_hello, Cancellation);
        await ReadAsync(old, _hello.Length);
        _proxy.SilenceNew = true;
        using var client = await ConnectAsync();
        await client.SendAsync(_hello, Cancellation);

        await old.SendAsync(_hello, Cancellation);
        await ReadAsync(old, _hello.Length);
        await Eventually.True(() => _proxy.OpenConnections == 2, "the new one is counted");
        _proxy.SilenceNew = false;

        await Assert.ThrowsAsync<TimeoutException>(() => ReadAsync(client, 1).WaitAsync(TimeSpan.FromMilliseconds(100), TimeProvider.System, Cancellation));
        client.Dispose();
        await Eventually.True(() => _proxy.OpenConnections == 1, "its end is noticed");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task EndOne_OfTwo_LeavesTheOther(bool politely)
    {
        using var first = await ConnectAsync();
        using var second = await ConnectAsync();
        foreach (var client in new[] { first, second })
        {
            await client.SendAsync(_hello, Cancellation);
            await ReadAsync(client, _hello.Length);
        }

        Assert.True(politely ? _proxy.CloseOne(new Random(1)) : _proxy.ResetOne(new Random(1)));

        Assert.Equal(1, _proxy.OpenConnections);
        Assert.True(politely ? _proxy.CloseOne(new Random(1)) : _proxy.ResetOne(new Random(1)));
        await Eventually.True(() => !_proxy.ResetOne(new Random(1)), "none is left");
    }

    private static async Task ReadAsync(Socket client, int count)
    {
        var buffer = new byte[count];
        for (var filled = 0; filled < count;)
        {
            var read = await client.ReceiveAsync(buffer.AsMemory(filled), Cancellation);
            Assert.NotEqual(0, read);
            filled += read;
        }
    }

    private static async Task<byte[]> ReadToEndAsync(Socket client)
    {
        var buffer = new byte[100];
        var filled = 0;
        while (await client.ReceiveAsync(buffer.AsMemory(filled), Cancellation) is > 0 and var read)
        {
            filled += read;
        }

        return buffer[..filled];
    }

    private async Task<Socket> ConnectAsync()
    {
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(IPAddress.Loopback, _proxy.Port, Cancellation);
        return client;
    }

    private async Task EchoAsync()
    {
        try
        {
            while (true)
            {
                _ = EchoAsync(await _echo.AcceptSocketAsync());
            }
        }
        catch (Exception fault) when (fault is SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private static async Task EchoAsync(Socket socket)
    {
        using (socket)
        {
            try
            {
                var buffer = new byte[1024];
                while (await socket.ReceiveAsync(buffer) is > 0 and var read)
                {
                    await socket.SendAsync(buffer.AsMemory(0, read));
                }
            }
            catch (SocketException)
            {
                // The proxy has broken it.
            }
        }
    }
}
