using Npgsql;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>Code of a user's that does not come back, and does not heed its token, until it is let go.</summary>
internal sealed class Hang
{
    private readonly TaskCompletionSource _letGo = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _calls;
    private int _hanging;
    private int _left;

    /// <summary>How often it was called.</summary>
    public int Calls => Volatile.Read(ref _calls);

    /// <summary>How many calls hang now.</summary>
    public int Hanging => Volatile.Read(ref _hanging);

    /// <summary>So many calls from now on hang.</summary>
    public void Next(int calls) => Volatile.Write(ref _left, calls);

    public void LetGo()
    {
        Next(0);
        _letGo.TrySetResult();
    }

    public async ValueTask PassAsync(bool holdsThread)
    {
        Interlocked.Increment(ref _calls);
        if (Interlocked.Decrement(ref _left) < 0)
        {
            return;
        }

        Interlocked.Increment(ref _hanging);
        if (holdsThread)
        {
            _letGo.Task.Wait();
        }
        else
        {
            await _letGo.Task;
        }

        Interlocked.Decrement(ref _hanging);
    }

    /// <summary>Puts it where the user's code may be.</summary>
    public void Install(ConnectionPoolOptions options, string where, bool holdsThread, string password)
    {
        options.ConfigureDataSource = builder =>
        {
            builder.UsePasswordProvider(
                _ => Provide(where == "password provider").AsTask().GetAwaiter().GetResult(), (_, _) => Provide(where == "password provider"));
            if (where == "initializer")
            {
                builder.UsePhysicalConnectionInitializer(_ => PassAsync(holdsThread).AsTask().GetAwaiter().GetResult(), _ => PassAsync(holdsThread).AsTask());
            }
        };
        if (where == "hook")
        {
            options.PhysicalConnectionOpened = (_, _) => PassAsync(holdsThread);
        }

        async ValueTask<string> Provide(bool passes)
        {
            if (passes)
            {
                await PassAsync(holdsThread);
            }

            return password;
        }
    }

    /// <summary>The hook after the hang, using its connection.</summary>
    public Func<NpgsqlConnection, CancellationToken, ValueTask> ThenUse(TaskCompletionSource<Exception?> used) => async (connection, _) =>
    {
        var hangs = Volatile.Read(ref _left) > 0;
        await PassAsync(holdsThread: false);
        if (hangs)
        {
            used.SetResult(await Record.ExceptionAsync(() => connection.DoAsync("SELECT 1")));
        }
    };
}
