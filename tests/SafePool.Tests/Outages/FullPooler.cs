using System.Buffers.Binary;
using SafePool.TestKit;

namespace SafePool.Tests.Outages;

/// <summary>A pooler by session that has room for so many clients and refuses the rest in words of its own.</summary>
internal sealed class FullPooler(int room, int server, string sqlState, string words)
{
    private const int CancelRequest = 80877102;

    private int _clients;
    private int _refused;

    public int Refused => Volatile.Read(ref _refused);

    /// <summary>How many it has room for; none refuses everybody.</summary>
    public int Room { get; set; } = room;

    public async Task ServeAsync(FakeSession session)
    {
        await session.ReadStartupAsync();
        if (BinaryPrimitives.ReadInt32BigEndian(session.Startup.AsSpan(4)) == CancelRequest)
        {
            await session.PassAsync(server);
            return;
        }

        try
        {
            if (Interlocked.Increment(ref _clients) > Room)
            {
                Interlocked.Increment(ref _refused);
                await session.RefuseAsync(sqlState, words);
            }
            else
            {
                await session.PassAsync(server);
            }
        }
        finally
        {
            Interlocked.Decrement(ref _clients);
        }
    }
}
