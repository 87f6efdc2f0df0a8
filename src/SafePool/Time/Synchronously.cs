using System.Diagnostics;

namespace SafePool.Time;

/// <summary>For members that complete synchronously when told to block: their result, without waiting.</summary>
internal static class Synchronously
{
#pragma warning disable CA2012 // That it has completed is asserted.
    public static void Result(ValueTask task)
    {
        Debug.Assert(task.IsCompleted, "A blocking call must have completed.");
        task.GetAwaiter().GetResult();
    }

    public static T Result<T>(ValueTask<T> task)
    {
        Debug.Assert(task.IsCompleted, "A blocking call must have completed.");
        return task.GetAwaiter().GetResult();
    }
#pragma warning restore CA2012
}
